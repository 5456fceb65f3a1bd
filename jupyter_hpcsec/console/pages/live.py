"""Live: the sessions that run now."""

from jupyter_hpcsec.console.page import READ, Page
from jupyter_hpcsec.console.views.live import row


class Live(Page):
    """``live``."""

    scope = READ
    label = "Live"

    async def get(self) -> None:
        """All of them."""
        rows = [row(session) for session in await self.desk.gateway.sessions()]
        await self.tell_read("live", "", len(rows))
        self.show("live.html", rows=rows)


ROUTES: list[tuple[str, type[Page]]] = [("live", Live)]
