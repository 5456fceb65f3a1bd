"""What the agent has told to the gateway's record about its session: what it sees itself, and what the server says.

It sees the server from outside: its start with the sandbox's receipt, its end, what is refused to listen, a mask that
was taken off. Totals come now and then, so that silence is seen.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path

from jupyter_hpcsec.audit.events import Told
from jupyter_hpcsec.audit.kinds.node import (
    NodeAlarm,
    NodeHeartbeat,
    NodeKernelStarted,
    NodeListenRefused,
    NodeServerEnded,
    NodeServerStarted,
    NodeTerminalOpened,
)
from jupyter_hpcsec.hub.server_process import ServerProcess
from jupyter_hpcsec.hub.serverchannel import ServerChannel
from jupyter_hpcsec.tunnel.silence import TOTALS_S
from jupyter_hpcsec.tunnel.teller import Teller

REFUSALS_TOLD_S = 10.0
"""A process that tries to listen again and again is told so often."""
CONNECT_S = 60.0
"""Until the server, which answers already, must have begun to tell."""
LAST_S = 5.0
"""How long the last events may take to the gateway."""


class Telling:
    """One session's. ``sleep`` is asyncio's but in tests."""

    def __init__(
        self, teller: Teller, log: logging.Logger, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._teller, self._log, self._sleep = teller, log, sleep
        self._kernels = self._terminals = 0
        self._refused = self._refused_pid = 0
        self._channel: ServerChannel | None = None

    # What the agent sees

    def started(self, receipt: Mapping[str, str | int]) -> None:
        """The server runs, by this receipt."""
        facts = json.dumps(dict(receipt), sort_keys=True, separators=(",", ":"))
        self._teller.tell(NodeServerStarted(facts=facts))

    def refused_to_listen(self, pid: int) -> None:
        """A process of the session was."""
        self._refused, self._refused_pid = self._refused + 1, pid

    def alarm(self, rule: str, sentence: str) -> None:
        """Something does not hold any more."""
        self._teller.tell(NodeAlarm(rule=rule, reason=sentence))

    async def ended(self, sentence: str) -> None:
        """The session is over: the totals, and all that is not told yet, while the gateway is there to hear it."""
        self._tell_refusals()
        self._teller.tell(
            NodeServerEnded(
                reason=sentence,
                kernels=self._kernels,
                terminals=self._terminals,
                events=self._teller.told + 1,
                lost=self._teller.lost,
            )
        )
        if not self._teller.is_sending:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_S):
                await self._teller.emptied()

    # Beside the session

    @contextlib.contextmanager
    def listening(self, path: Path) -> Iterator[None]:
        """Let a server connect that is started within the block."""
        self._channel = ServerChannel(
            path,
            take=self.take,
            malformed=lambda: self._teller.lose("malformed"),
            room=self._teller.room,
            show=self._teller.show,
            log=self._log,
        )
        try:
            yield
        finally:
            self._channel.close()

    @contextlib.asynccontextmanager
    async def over(self, server: ServerProcess) -> AsyncIterator[None]:
        """Hear that server, and tell the totals, as long as the block takes."""
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(work) for work in (self._hear(server), self._beat(), self._tell_listeners())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def expect(self) -> None:
        """The server answers by now; one that does not tell is itself an event."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_S):
                await self._heard_channel.connected.wait()
                return
        self.alarm("events.server-silent", "the notebook server tells nothing of what happens in it")

    @property
    def _heard_channel(self) -> ServerChannel:
        if self._channel is None:
            raise TypeError("BUG: a server that has nothing to tell by")
        return self._channel

    async def _hear(self, server: ServerProcess) -> None:
        with contextlib.suppress(OSError):
            await self._heard_channel.hear(server.pid)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_S):  # one that ends closes it, too
                await server.wait()
                return
        self.alarm("events.server-silent", "the notebook server tells nothing more of what happens in it")

    def take(self, event: Told) -> None:
        """Have the server's word told."""
        self._kernels += isinstance(event, NodeKernelStarted)
        self._terminals += isinstance(event, NodeTerminalOpened)
        self._teller.tell(event, "server")

    async def _beat(self) -> None:
        while True:
            self._teller.tell(
                NodeHeartbeat(
                    kernels=self._kernels,
                    terminals=self._terminals,
                    events=self._teller.told + 1,
                    lost=self._teller.lost,
                )
            )
            await self._sleep(TOTALS_S)

    async def _tell_listeners(self) -> None:
        while True:
            self._tell_refusals()
            await self._sleep(REFUSALS_TOLD_S)

    def _tell_refusals(self) -> None:
        if self._refused:
            event = NodeListenRefused(
                pid=self._refused_pid, count=self._refused, decision="refused", rule="network.bind"
            )
            self._refused = 0
            self._teller.tell(event)
