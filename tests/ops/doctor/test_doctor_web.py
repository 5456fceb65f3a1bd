"""HTTP parts: silence, server errors and plain HTTP across the network are seen first."""

from jupyter_hpcsec.ops.doctor.fake import FakeWorld
from jupyter_hpcsec.ops.doctor.finding import Status
from jupyter_hpcsec.ops.doctor.web import examine, judge_answer
from jupyter_hpcsec.ops.doctor.world import HttpAnswer

URL = "https://hub.example/"


def test_no_answer_and_server_errors_are_red() -> None:
    assert judge_answer("hub", URL, ConnectionRefusedError(111, "Connection refused"), "start it").status is Status.BAD
    assert judge_answer("hub", URL, HttpAnswer(503, {}), "start it").status is Status.BAD


def test_a_refusal_for_want_of_a_token_is_an_answer() -> None:
    assert judge_answer("proxy api", URL, HttpAnswer(403, {}), "start it").status is Status.OK


def test_plain_http_across_the_network_is_yellow(world: FakeWorld) -> None:
    world.answers = {"http://hub.example/": HttpAnswer(302, {}), "http://127.0.0.1:8000/": HttpAnswer(302, {})}
    assert [f.status for f in examine(world, "hub", "http://hub.example/", "x")] == [Status.OK, Status.WARN]
    assert [f.status for f in examine(world, "hub", "http://127.0.0.1:8000/", "x")] == [Status.OK]
