"""The gateway's end of one control connection: what is sent on it, and how it ends."""

import asyncio

from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable
from jupyter_hpcsec.tunnel.connection import TlsConnection
from jupyter_hpcsec.tunnel.messages import (
    MAX_MESSAGE,
    Denied,
    End,
    FromAgent,
    FromGateway,
    Hello,
    Welcome,
    decode_from_agent,
)
from jupyter_hpcsec.tunnel.tls import MessageStream

GOODBYE_S = 0.5
"""How long a last word may take before the connection is cut: an end is an end within one second."""


class ControlConnection:
    """One agent's control connection. ``is_welcome``: its first message, a ``Welcome``, is on its way."""

    __slots__ = ("is_welcome", "stream")

    def __init__(self, tls: TlsConnection) -> None:
        self.stream = MessageStream(tls)
        self.is_welcome = False

    async def hello(self, timeout_s: float) -> Hello:
        """The first message, which must be a ``Hello``."""
        message = await self.receive(timeout_s)
        if not isinstance(message, Hello):
            raise Malformed("a control connection begins with 'hello'")
        return message

    async def welcome(self, message: Welcome) -> None:
        """Answer the ``Hello``; from here on other messages may be sent."""
        self.is_welcome = True  # what is sent from now on waits for its turn behind this one
        await self.stream.send(message)

    async def receive(self, timeout_s: float) -> FromAgent:
        """The next message; ``Refused`` when the agent has been silent for ``timeout_s`` seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                return decode_from_agent(await self.stream.receive(MAX_MESSAGE))
        except TimeoutError as exc:
            raise Refused("control.silent", f"the agent said nothing for {timeout_s:g} s") from exc

    async def send_or_close(self, message: FromGateway) -> None:
        """Send what need not arrive: where it can't, the connection is closed, and its agent dials anew."""
        try:
            await self.stream.send(message)
        except Unavailable:
            self.close()

    async def end(self, reason: str) -> None:
        """Say that the session is over, then cut the connection."""
        await self._last_word(End(reason=reason))

    async def deny(self, refusal: Refused) -> None:
        """Say why the connection is not taken, then cut it."""
        await self._last_word(Denied(rule=refusal.rule, reason=refusal.reason))

    async def _last_word(self, message: FromGateway) -> None:
        try:
            async with asyncio.timeout(GOODBYE_S):
                await self.stream.send(message)
        except (HpcsecError, TimeoutError):
            return  # an agent that can't be told finds its certificate revoked
        finally:
            self.close()

    def close(self) -> None:
        """Cut the connection."""
        self.stream.close()
