"""The spawner's part that follows a session's end: its job is cancelled at once, and its user is told why.

The gateway ends sessions by itself (its rules) and by order (``hpcsec session end``); it has no right to the batch
system, the hub has. While JupyterHub looks after a running server, the gateway's word of its end is waited for.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_hpcsec.hub.ending import Ended
from jupyter_hpcsec.hub.endwatch import watch_for
from jupyter_hpcsec.hub.gatewaylink import GatewayLink
from jupyter_hpcsec.tunnel.session import State

if TYPE_CHECKING:  # the class beside which this one stands
    from jupyterhub.spawner import Spawner as Base
else:
    Base = object


class EndPart(Base):
    """Put before the spawner class: ``start_polling`` and ``stop_polling`` say when a server runs."""

    session: str
    ended: Ended | None = None
    """Why the last session ended, where that was not by its user; for the hub's pages."""
    _watched = ""
    _is_looking = False

    def gateway(self) -> GatewayLink:
        """The way to the gateway."""
        raise NotImplementedError("BUG: a spawner without a gateway")

    def start_polling(self) -> None:
        """JupyterHub's own polling, and the gateway's word."""
        super().start_polling()
        self._watch(self.session)

    def stop_polling(self) -> None:
        """The reverse."""
        super().stop_polling()
        self._watch("")

    def _watch(self, session: str) -> None:
        if self._watched and self._watched != session:
            watch_for(Path(self.admin_socket)).remove(self._watched)
        if session and session != self._watched:
            watch_for(Path(self.admin_socket)).add(session, self.session_ended)
        self._watched = session

    async def session_ended(self, ended: Ended | None) -> None:
        """Do what a poll does that finds it, now. ``None``: look whether it has ended."""
        if self._is_looking or not self._watched:
            return
        self._is_looking = True
        try:
            if ended is None and await self.gateway().state(self._watched) is not State.ENDED:
                return
            self.ended = ended or self.ended
            if not self.pending:  # who starts or stops a server looks after its job
                self.log.info("Session %s of %s was ended at the gateway", self._watched, self._log_name)
                await self.poll_and_notify()
        finally:
            self._is_looking = False

    def ended_state(self) -> dict[str, Any]:
        """What the spawner's state has of it: also of a server that is gone."""
        return {"hpcsec_ended": self.ended.to_state()} if self.ended else {}
