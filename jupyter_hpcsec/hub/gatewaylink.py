"""The spawner's side of the gateway's admin API: waiting for a gateway that restarts, and ending sessions for certain.

The client itself is ``tunnel.admin.AdminClient``; this adds patience and nothing else.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.tunnel.admin import AdminClient, Registration
from jupyter_hpcsec.tunnel.adminwire import UNKNOWN_SESSION
from jupyter_hpcsec.tunnel.session import By, Progress, State

RETRY_S = 0.5


class Admin(Protocol):
    """The calls that a spawner makes; ``AdminClient`` has them all."""

    async def register(
        self,
        *,
        user: str,
        server: str,
        uid: int,
        lifetime_s: int,
        launch: Mapping[str, Any],
        home: str,
        groups: Sequence[str] = (),
        project: str = "",
    ) -> Registration:
        """A new session, waiting for its job."""

    async def projects(self, user: str = "", groups: Sequence[str] = ()) -> dict[str, Any]:
        """The user's projects, and whether they need one."""

    async def bind_job(self, session: str, job_id: str) -> None:
        """Only this job may enrol."""

    async def show(self, session: str) -> dict[str, Any]:
        """The session's fields."""

    async def wait(self, session: str, after: int, timeout_s: float) -> list[Progress]:
        """Its next steps, or nothing after ``timeout_s``."""

    async def end(self, session: str, reason: str, by: By = "staff") -> None:
        """Revoke it. Twice is once."""

    async def endings(self, boot: str, after: int, timeout_s: float) -> dict[str, Any]:
        """Sessions that ended, as they end."""

    async def status(self) -> dict[str, Any]:
        """The gateway itself."""


class GatewayLink:
    """A client and how long to be patient with it."""

    def __init__(
        self, client: Admin, patience_s: float, sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep
    ) -> None:
        self.client = client
        self._patience_s = patience_s
        self._sleep = sleep

    @classmethod
    def over(cls, socket: Path, patience_s: float) -> "GatewayLink":
        """By the gateway's admin socket."""
        return cls(AdminClient(socket), patience_s)

    async def wait_up(self, tell: Callable[[str], None]) -> None:
        """Return once the gateway answers; when patience is over raise its ``Unavailable``, which names the fix."""

        async def ask() -> None:
            await self.client.status()

        await self._patiently(ask, tell)

    async def end(self, session: str, reason: str) -> None:
        """End a session, waiting for a gateway that restarts. One that the gateway does not know is ended."""

        async def ask() -> None:
            try:
                await self.client.end(session, reason, "hub")
            except Refused as error:
                if error.rule != UNKNOWN_SESSION:
                    raise

        await self._patiently(ask, lambda _: None)

    async def state(self, session: str) -> State | None:
        """The session's state; ``ENDED`` when the gateway does not know it, ``None`` when it does not answer or can't.

        Only a clear word ends a session: nobody's kernel is lost because a gateway is broken.
        """
        try:
            return State((await self.client.show(session))["state"])
        except Refused as error:
            return State.ENDED if error.rule == UNKNOWN_SESSION else None
        except (Unavailable, Malformed, KeyError, ValueError):
            return None

    async def _patiently(self, ask: Callable[[], Awaitable[None]], tell: Callable[[str], None]) -> None:
        for _ in range(max(1, int(self._patience_s / RETRY_S))):
            try:
                return await ask()
            except Unavailable:
                tell("Waiting for the gateway, which does not answer yet")
                await self._sleep(RETRY_S)
        return await ask()
