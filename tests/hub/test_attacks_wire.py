"""Attacks by an enrolled node, over its real lanes and control connection: it may harm its own session at most."""

import asyncio
import logging
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel import session_port
from jupyter_hpcsec.tunnel.frames import DONE_FRAME, EOF_FRAME, data_header, open_frame, reset_frame
from tests.hub.attackers import (
    Enrolled,
    check_refused,
    enrol,
    lane,
    reach,
    rest_of,
)
from tests.hub.deployment import Deployment, connect, fetch
from tests.hub.test_tunnel import echo_server, until_ready


async def lanes_are(deployment: Deployment, enrolled: Enrolled, number: int) -> None:
    async with asyncio.timeout(60):
        while (await deployment.desk.show(enrolled.registration.session))["lanes"] != number:
            await asyncio.sleep(0.01)


def raw_open(target: bytes) -> bytes:
    return b"\x01" + len(target).to_bytes(4, "big") + target


MALFORMED = {
    "unknown-type": b"\x09\x00\x00\x00\x00",
    "type-0": b"\x00\x00\x00\x00\x00",
    "huge": b"\x02\xff\xff\xff\xff",
    "empty-data": b"\x02\x00\x00\x00\x00",
    "data-while-idle": data_header(4) + b"data",
    "eof-while-idle": EOF_FRAME,
    "done-twice": DONE_FRAME,
    "reset-while-idle": reset_frame("x"),
    "open-host": raw_open(b"127.0.0.1:22"),
    "open-url": raw_open(b"http://hub:8081/"),
    "open-path": raw_open(b"app/../server"),
    "open-upper": raw_open(b"Hub-Api"),
    "open-nul": raw_open(b"hub-api\x00"),
    "open-newline": raw_open(b"hub-api\n"),
    "open-empty": raw_open(b""),
    "open-long": raw_open(b"app/" + b"a" * 61),
    "eof-with-payload": b"\x03\x00\x00\x00\x01x",
    "tls-again": b"\x16\x03\x01\x02\x00\x01",
    "http": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_frames_on_a_live_lane(
    deployment: Deployment, alice: Enrolled, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = await lane(deployment, alice.shown)
    await lanes_are(deployment, alice, 1)
    bad = await lane(deployment, alice.shown)
    await lanes_are(deployment, alice, 2)
    bad.write(MALFORMED[name])
    assert await rest_of(bad) == b""
    await check_refused(deployment, caplog, "lane.malformed")
    await lanes_are(deployment, alice, 1)
    good.close()


FRAME = st.one_of(
    st.sampled_from([*MALFORMED.values(), DONE_FRAME, EOF_FRAME, open_frame("hub-api"), open_frame("server")]),
    st.binary(min_size=1, max_size=40),
    st.binary(min_size=1, max_size=40).map(lambda data: data_header(len(data)) + data),
    st.sampled_from(["", "no such target"]).map(reset_frame),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.lists(FRAME, min_size=1, max_size=12), announced=st.booleans())
def test_any_frames_at_all(tmp_path_factory: pytest.TempPathFactory, frames: list[bytes], announced: bool) -> None:
    """Whatever a node sends: no exception reaches the event loop, and the session still serves afterwards."""

    async def attack() -> None:
        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context))
        deployment = Deployment(tmp_path_factory.mktemp("f"))
        await deployment.start()
        alice = await enrol(deployment)
        tls = await reach(deployment, m.LANE, alice.shown)
        tls.write((DONE_FRAME if announced else b"") + b"".join(frames))
        await asyncio.sleep(0.02)
        tls.close()
        good = await lane(deployment, alice.shown)
        session = alice.registration.session
        async with asyncio.timeout(60):
            while not (await deployment.desk.show(session))["idle_lanes"]:
                await asyncio.sleep(0.005)
        good.close()
        await lanes_are(deployment, alice, 0)
        await deployment.stop()
        assert not faults

    asyncio.run(attack())


async def test_a_target_off_the_list_from_the_node(
    deployment: Deployment, alice: Enrolled, caplog: pytest.LogCaptureFixture
) -> None:
    for number, target in enumerate(["server", "app/x", "app/hub-api"], 1):
        tls = await reach(deployment, m.LANE, alice.shown)
        tls.write(open_frame(target))
        await check_refused(deployment, caplog, "lane.target", times=number)
        tls.close()
    await lanes_are(deployment, alice, 0)
    tls = await reach(deployment, m.LANE, alice.shown)
    tls.write(open_frame("hub-api") + frame(b"GET /hub/api HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    async with asyncio.timeout(60):
        while not (got := tls.read_into(memoryview(bytearray(65536)))):
            await asyncio.sleep(0.01)
    assert got  # the one target that there is answers, though this test's hub does not
    tls.close()


async def test_a_stream_on_a_lane_that_is_there_for_ours(
    deployment: Deployment, alice: Enrolled, caplog: pytest.LogCaptureFixture
) -> None:
    tls = await lane(deployment, alice.shown)
    await lanes_are(deployment, alice, 1)
    tls.write(open_frame("hub-api"))
    await check_refused(deployment, caplog, "lane.direction")
    assert await rest_of(tls) == b""
    await lanes_are(deployment, alice, 0)


async def test_a_target_off_the_list_from_the_gateway_is_refused_by_the_agent(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    registration = await deployment.register()
    async with echo_server(deployment.server_socket(registration)), deployment.running_agent(registration):
        await until_ready(deployment, registration.session)
        assert (await fetch(registration.socket)).startswith(b"HTTP/1.1 200 OK")
        live = deployment.registry.get(registration.session)
        assert live
        await until_ready(deployment, registration.session)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        live.port._idle.pop().open("app/shell", theirs)
        assert await asyncio.get_running_loop().sock_recv(ours, 100) == b""
        assert any("refused a stream to 'app/shell'" in r.getMessage() for r in caplog.records)
        ours.close()


async def test_tiny_frames_do_not_hold_up_others(deployment: Deployment, alice: Enrolled) -> None:
    """40,000 frames of one byte fit into one buffer; another session's message must not wait for all of them."""
    tls = await lane(deployment, alice.shown)
    await lanes_are(deployment, alice, 1)
    reader, writer = await connect(alice.registration.socket)
    writer.write(b"hello")
    async with asyncio.timeout(60):
        while not tls.read_into(memoryview(bytearray(65536))):
            await asyncio.sleep(0.01)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    watching = asyncio.create_task(others())
    tiny = frame(b"x") * 20_000
    written = asyncio.create_task(asyncio.to_thread(_send_blocking, tls, tiny))
    assert await reader.readexactly(20_000) == b"x" * 20_000
    watching.cancel()
    await written
    assert turns > 20_000 // (session_port_events() * 4)
    writer.close()
    tls.close()


def session_port_events() -> int:
    from jupyter_hpcsec.tunnel.lane import EVENTS

    return EVENTS


def _send_blocking(tls: object, data: bytes) -> None:
    tls._raw.setblocking(True)  # type: ignore[attr-defined]
    tls.write(data)  # type: ignore[attr-defined]


def frame(data: bytes) -> bytes:
    return data_header(len(data)) + data


# The Hub API, through a real lane


async def hub_api(deployment: Deployment, alice: Enrolled, request: bytes) -> bytes:
    tls = await reach(deployment, m.LANE, alice.shown)
    tls.write(open_frame("hub-api") + frame(request))
    view, got = memoryview(bytearray(65536)), b""
    async with asyncio.timeout(60):
        while b"}" not in got:
            got += view[: tls.read_into(view)]
            await asyncio.sleep(0.005)
    tls.close()
    return got


HUB_PATHS = {
    "other-user": "/hub/api/users/bob/activity",
    "users": "/hub/api/users",
    "spawn": "/hub/api/users/alice/server",
    "tokens": "/hub/api/users/alice/tokens",
    "proxy": "/hub/api/proxy",
    "shutdown": "/hub/api/shutdown",
    "dotted": "/hub/api/users/alice/../bob/activity",
    "dot": "/hub/api/./users",
    "encoded-dots": "/hub/api/users/alice/%2e%2e/bob/activity",
    "encoded-slash": "/hub/api/users%2falice",
    "encoded-letter": "/hub/api/%75ser",
    "double-encoded": "/hub/api/%2575ser",
    "doubled": "//hub/api/user",
    "doubled-inside": "/hub/api//user",
    "backslash": "/hub/api\\user",
    "semicolon": "/hub/api/user;x=1",
    "query": "/hub/api/user?x=1",
    "absolute": "http://127.0.0.1/hub/api/user",
    "outside": "/hub/admin",
    "upper": "/HUB/API/user",
    "trailing": "/hub/api/user/",
}


@pytest.mark.parametrize("name", HUB_PATHS)
async def test_hub_api_paths_off_the_list(deployment: Deployment, alice: Enrolled, name: str) -> None:
    request = f"GET {HUB_PATHS[name]} HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = await hub_api(deployment, alice, request.encode())
    assert b" 403 " in answer or b" 400 " in answer
    assert any(rule.startswith("hub-api.") for rule in deployment.counters.snapshot())


async def test_a_hub_api_path_on_the_list_is_passed_on(deployment: Deployment, alice: Enrolled) -> None:
    """This deployment's hub is away, which is another answer than no."""
    answer = await hub_api(deployment, alice, b"GET /hub/api/user HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b" 502 " in answer or b" 503 " in answer or b" 599 " in answer
    assert not [rule for rule in deployment.counters.snapshot() if rule.startswith("hub-api.") and "away" not in rule]


async def test_too_many_lanes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    deployment = Deployment(tmp_path)
    deployment.limits.__dict__["lanes_per_session"] = 3
    await deployment.start()
    alice = await enrol(deployment)
    most = 3 + session_port.HUB_API_STREAMS
    lanes = [await lane(deployment, alice.shown) for _ in range(most)]
    await lanes_are(deployment, alice, most)
    refused = await lane(deployment, alice.shown)
    assert await rest_of(refused) == b""
    await check_refused(deployment, caplog, "lane.too-many")
    lanes.pop().close()
    await lanes_are(deployment, alice, most - 1)
    lanes.append(await lane(deployment, alice.shown))
    await lanes_are(deployment, alice, most)
    for each in lanes:
        each.close()
    await deployment.stop()
