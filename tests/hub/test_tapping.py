"""What passes is on record; what must be on record first waits for it, and is refused where it can't be."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

import pytest

from jupyter_hpcsec.audit.events import Event, Trust, kind_of
from jupyter_hpcsec.audit.tap.recording import Level, Recording
from jupyter_hpcsec.config_recording import RecordingSettings
from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.hub.recordings import Recordings, recordings
from jupyter_hpcsec.hub.tapping import NOT_RECORDED, LaneTap, Taps
from jupyter_hpcsec.tunnel.session import Session, State
from tests.audit.tap.feeding import KERNEL, agreed, answer, as_text, cell, frame, request, upgrade
from tests.hub.deployment import Deployment, connect, fetch

WRITE = request("DELETE /user/alice/api/contents/a")


@dataclass
class Recorder:
    """Keeps events; ``full``: none can be recorded. Receipts are given by ``settle``."""

    full: bool = False
    noted: list[Event] = field(default_factory=list)
    waiting: "list[tuple[Event, Future[int]]]" = field(default_factory=list)
    holds: bool = False

    def note(self, event: Event, trust: Trust = "gateway", sealed: Mapping[str, bytes] | None = None) -> None:
        self.noted.append(event)

    def receipt(self, event: Event, sealed: Mapping[str, bytes]) -> "Future[int]":
        if self.full:
            raise Unavailable("The disk is full.")
        future: Future[int] = Future()
        self.waiting.append((event, future))
        if not self.holds:
            future.set_result(0)
        return future

    def kinds(self) -> list[str]:
        return [kind_of(event) for event in self.noted]


def taps(recorder: Recorder) -> Taps:
    return Taps(
        recorder,
        recordings=Recordings(Recording(), {}),
        trusted=(),
        is_forwarded=True,
        clock=time.monotonic,
    )


SESSION = Session("5" * 32, "alice", "", 1001, State.READY, "41", "n", 0, 1 << 40, "", "")


def tap(recorder: Recorder) -> LaneTap:
    return taps(recorder).tap(SESSION)


async def test_what_can_not_be_recorded_is_refused_with_a_sentence() -> None:
    recorder = Recorder(full=True)
    pending = tap(recorder).from_browser(memoryview(WRITE))
    assert pending is not None
    words = await pending
    assert words is not None
    assert words(b"").startswith(b"HTTP/1.1 503") and NOT_RECORDED.encode() in words(b"")
    assert recorder.kinds() == ["tap.refused"]
    assert tap(recorder).from_browser(memoryview(request())) is None


async def test_one_that_fails_later_likewise_and_nothing_is_said_within_an_answer() -> None:
    recorder = Recorder(holds=True)
    lane = tap(recorder)
    assert lane.from_browser(memoryview(request())) is None
    pending = lane.from_browser(memoryview(WRITE + WRITE))
    assert pending is not None and len(recorder.waiting) == 2
    recorder.waiting[0][1].set_exception(Unavailable("The disk broke."))
    recorder.waiting[1][1].set_result(7)
    words = await pending
    assert words is not None and words(b"") == b""


async def test_it_waits_for_all_receipts() -> None:
    recorder = Recorder(holds=True)
    lane = tap(recorder)
    pending = lane.from_browser(memoryview(WRITE + WRITE))
    assert pending is not None
    recorder.waiting[0][1].set_result(0)
    await asyncio.sleep(0)
    assert not pending.done()
    recorder.waiting[1][1].set_result(1)
    assert await pending is None
    lane.from_server(memoryview(answer("204 No Content")))
    lane.closed()
    assert recorder.kinds() == ["http.request", "file.deleted", "http.request", "file.deleted"]


async def test_what_can_not_be_parsed_is_an_event() -> None:
    recorder = Recorder()
    with pytest.raises(Refused):
        tap(recorder).from_browser(memoryview(b"nonsense\r\n\r\n"))
    lane = tap(recorder)
    with pytest.raises(Refused):
        lane.from_server(memoryview(b"HTTP/1.1 200 OK\r\n\r\n"))
    assert recorder.kinds() == ["tap.refused"] * 2
    assert {event.rule for event in recorder.noted} == {"tap.http-malformed"}


def test_groups_choose_the_fullest_recording() -> None:
    made = recordings(
        RecordingSettings(level="sources", by_group=(("open", "metadata"), ("watched", "sources+outputs")))
    )
    assert made.of([]).level is Level.SOURCES and made.of(["other"]).level is Level.SOURCES
    assert made.of(["open"]).level is Level.METADATA
    assert made.of(["open", "watched"]).level is Level.OUTPUTS


# --- through a real gateway


@pytest.fixture
async def tapped(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Deployment, Recorder]]:
    deployment, recorder = Deployment(tmp_path_factory.mktemp("g")), Recorder()
    deployment.tap = taps(recorder).tap
    await deployment.start()
    yield deployment, recorder
    await deployment.stop()


async def test_requests_through_a_session(tapped: tuple[Deployment, Recorder]) -> None:
    deployment, recorder = tapped
    registration = await deployment.register()
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer("204 No Content"))
        writer.close()

    server = await asyncio.start_unix_server(serve, deployment.server_socket(registration))
    async with server, deployment.running_agent(registration):
        closing = WRITE.replace(b"\r\nHost", b"\r\nConnection: close\r\nHost")
        assert (await fetch(registration.socket, closing)).startswith(b"HTTP/1.1 204")
        assert b"Connection: keep-alive" in seen[0], "the tap sees what the server sees"
        assert [kind_of(event) for event, _ in recorder.waiting] == ["http.begun"]
        assert recorder.kinds() == ["http.request", "file.deleted"]
        recorder.full = True
        refused = await fetch(registration.socket, closing)
        assert refused.startswith(b"HTTP/1.1 503") and b"has to be recorded" in refused and len(seen) == 1
        unknown = request("GET /user/alice/ext/archive", "Connection: close")
        assert (await fetch(registration.socket, unknown)).startswith(b"HTTP/1.1 503"), "it may carry data away"
        looking = request("GET /user/alice/api/status", "Connection: close")
        assert (await fetch(registration.socket, looking)).startswith(b"HTTP/1.1 204") and len(seen) == 2
        assert await fetch(registration.socket, b"GET / HTTP/1.1\nHost: x\n\n\r\n\r\n") == b""
        assert len(seen) == 2


async def test_a_cell_that_can_not_be_recorded_is_answered(tapped: tuple[Deployment, Recorder]) -> None:
    deployment, recorder = tapped
    registration = await deployment.register()
    seen: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(agreed())
            while data := await reader.read(65_536):
                seen.put_nowait(data)
        seen.put_nowait(b"")
        writer.close()

    server = await asyncio.start_unix_server(serve, deployment.server_socket(registration))
    first, second = (frame(1, as_text(cell(code))) for code in ("first", "second"))
    async with server, deployment.running_agent(registration), asyncio.timeout(60):
        reader, writer = await connect(registration.socket)
        writer.write(upgrade(f"/user/alice/api/kernels/{KERNEL}/channels"))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(first)
        assert await seen.get() == first
        recorder.full = True
        writer.write(second)
        words = await reader.read()
        assert words.count(b'"NotRecorded"') == 2 and words.count(b'"execution_state": "idle"') == 1
        assert NOT_RECORDED.encode() in words and words.endswith(b"recorded now")
        assert await seen.get() == b"", "the cell never reached the server"
        writer.close()
