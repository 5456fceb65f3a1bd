from typing import Any

import pytest

from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable
from jupyter_hpcsec.hub.gatewaylink import GatewayLink
from jupyter_hpcsec.tunnel.session import State

UNKNOWN = Refused("session.unknown", "There is no such session.")
DOWN = Unavailable("No gateway runs.")


class Client:
    """Gives one answer after the other; an error is raised. The last is for ever."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked = 0

    def _next(self) -> Any:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, HpcsecError):
            raise answer
        return answer

    async def status(self) -> Any:
        return self._next()

    async def show(self, session: str) -> Any:
        return self._next()

    async def end(self, session: str, reason: str, by: str = "staff") -> None:
        self._next()


def link(*answers: Any, patience_s: float = 2) -> tuple[GatewayLink, Client, list[float]]:
    client, slept = Client(*answers), []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    return GatewayLink(client, patience_s, sleep), client, slept  # type: ignore[arg-type]


async def test_patience_ends_with_the_gateways_own_sentence() -> None:
    gateway, client, slept = link(DOWN)
    with pytest.raises(Unavailable, match="No gateway runs"):
        await gateway.wait_up(lambda _: None)
    assert sum(slept) == 2 and client.asked == 5


async def test_what_is_refused_is_not_asked_again() -> None:
    gateway, client, _ = link(Refused("admin.peer", "Not you."))
    with pytest.raises(Refused):
        await gateway.end("s", "why")
    assert client.asked == 1


async def test_a_gateway_that_restarts_is_waited_for_and_told_of() -> None:
    told: list[str] = []
    gateway, client, _ = link(DOWN, DOWN, {})
    await gateway.wait_up(told.append)
    assert client.asked == 3 and len(told) == 2


async def test_to_end_what_is_not_there_is_done() -> None:
    gateway, client, _ = link(DOWN, UNKNOWN)
    await gateway.end("s", "why")
    assert client.asked == 2


@pytest.mark.parametrize(
    "answer", [DOWN, Malformed("odd"), Refused("admin.peer", "Not you."), {}, {"state": "dancing"}, {"state": None}]
)
async def test_only_a_clear_word_says_something(answer: Any) -> None:
    assert await link(answer)[0].state("s") is None


async def test_states() -> None:
    assert await link(UNKNOWN)[0].state("s") is State.ENDED
    assert await link({"state": "ready"})[0].state("s") is State.READY
