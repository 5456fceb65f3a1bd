"""The prefix itself: leads to the first page that the reader may open."""

from jupyter_hpcsec.console.page import SELF, Page
from jupyter_hpcsec.errors import Refused


class Home(Page):
    """``/services/hpcsec/``."""

    scope = SELF

    async def get(self) -> None:
        """Go there."""
        for entry in self.settings["nav"]:
            if self.reader.may(entry.scope):
                self.redirect(f"{self.desk.settings.prefix}{entry.path}")
                return
        raise Refused("console.scope", f"{self.reader.name} holds none of the scopes that the console's pages need.")


ROUTES: list[tuple[str, type[Page]]] = [("", Home)]
