"""The hub hears of every session's end as it happens, and looks after its job at once instead of at its next poll.

One question for all servers of a hub is held open at the gateway. Whose session ended is told by calling what was
added for it; who may have missed an end (the gateway started anew, the server was just added) is asked to look.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.hub.ending import Ended
from jupyter_hpcsec.tunnel.admin import AdminClient

HELD_S = 50.0
AGAIN_S = 2.0

Told = Callable[[Ended | None], Awaitable[Any]]
"""What is called when a session ended; with ``None``: it may have, look."""


class Gateway(Protocol):
    """Of ``AdminClient``, what is needed."""

    async def endings(self, boot: str, after: int, timeout_s: float) -> dict[str, Any]:
        """Sessions that ended."""


class EndWatch:
    """Over one gateway. It asks for as long as there is somebody to tell. ``sleep`` is asyncio's but in tests."""

    def __init__(
        self,
        gateway: Gateway,
        log: logging.Logger | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._gateway, self._sleep = gateway, sleep
        self._log = log or logging.getLogger(__name__)
        self._watched: dict[str, Told] = {}
        self._boot, self._last = "", 0
        self._task: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[None]] = set()

    def add(self, session: str, told: Told) -> None:
        """Call ``told`` when the session ends; it looks once now, since it may have ended already."""
        self._watched[session] = told
        self._tell(told, None)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._follow())

    def remove(self, session: str) -> None:
        """Tell of it no more."""
        self._watched.pop(session, None)
        if not self._watched and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _follow(self) -> None:
        while True:
            try:
                answer = await self._gateway.endings(self._boot, self._last, HELD_S)
                boot, last, ended = str(answer["boot"]), int(answer["last"]), list(answer["ended"])
                missed = bool(answer["missed"])
                found = [(str(each["session"]), Ended.of(each["reason"], each["by"])) for each in ended]
            except (HpcsecError, KeyError, TypeError, ValueError) as error:
                self._log.debug("the gateway does not tell of ends: %s", error)
                await self._sleep(AGAIN_S)
                continue
            self._boot, self._last = boot, last
            for session, each in found:
                if told := self._watched.get(session):
                    self._tell(told, each)
            if missed:
                for told in list(self._watched.values()):
                    await self._told(told, None)  # one after the other: there may be thousands

    def _tell(self, told: Told, ended: Ended | None) -> None:
        task = asyncio.get_running_loop().create_task(self._told(told, ended))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _told(self, told: Told, ended: Ended | None) -> None:
        try:
            await told(ended)
        except Exception:  # noqa: BLE001 - of whatever follows an end, in JupyterHub too: others must still be told
            self._log.exception("a session's end could not be followed; the next poll does")


_watches: dict[Path, EndWatch] = {}


def watch_for(socket: Path) -> EndWatch:
    """The one watch of this process over a gateway."""
    if socket not in _watches:
        _watches[socket] = EndWatch(AdminClient(socket))
    return _watches[socket]
