"""Uploads and digests of a real server, by the protocol: refusals and attacks first, then cuts, then the calm."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_hpcsec.access.values import Resolved, Right
from tests.hub.jupyter_client import BASE
from tests.server.realserver import RealServer, rules
from tests.server.test_events import Agent, until
from tests.server.tusclient import API, Tus, checksum, whole

DATA = bytes(range(256)) * 4096
ROOM = """
import os
os.fstatvfs = lambda _: os.statvfs_result((4096, 4096, 2**20, 2**20, 2**20, 0, 0, 0, 0, 255))
"""
"""In the server's configuration: every file system has 4 GiB left, whatever the machine has."""


class Place:
    """One test's directory below a server's home."""

    def __init__(self, server: RealServer, name: str) -> None:
        self.server, self.name, self.home = server, name, server.home / name
        self.outside = server.home.parent / "outside" / name
        for path in (self.home / "closed", self.home / "shown", self.outside):
            path.mkdir(parents=True)
        self.tus = Tus(server.socket, server.client.token, name)

    def partials(self) -> list[Path]:
        return sorted(self.home.rglob(".hpcsec-upload-*"))


NAMES = ("refused", "others", "swapped", "lies", "over", "slow", "cuts")


def _rules(home: Path) -> Resolved:
    closed = [(home / name / "closed", Right.NONE) for name in NAMES]
    return rules(home, *closed, *((home / name / "shown", Right.READ) for name in NAMES))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    made = RealServer(tmp_path_factory.mktemp("s"))
    try:
        asyncio.run(made.start(_rules(made.home), config=ROOM))
        yield made
    finally:
        made.stop()


@pytest.fixture
def place(server: RealServer, request: pytest.FixtureRequest) -> Place:
    return Place(server, request.param)


def at(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("place", [name], indirect=True)


@at("refused")
async def test_what_may_not_be_written_is_refused_before_any_byte(place: Place) -> None:
    tus, home = place.tus, place.home
    (home / "link").symlink_to("closed")
    (home / "away").symlink_to(place.outside)
    (home / "f").write_text("old")
    for path, status, said in (
        ("closed/f", 403, "refused/closed/f is closed to you by rule 2 of the access policy (line 20, for *)"),
        ("shown/f", 403, "Ask data@example.org for access."),
        ("link/f", 403, "rule 2"),
        ("away/f", 403, "No rule"),
        ("..%2F..%2F..%2Foutside/f", 404, ""),
        ("../../../outside/f", 404, ""),
        ("%2e%2e/%2e%2e/%2e%2e/outside/f", 404, ""),
        ("none/f", 404, "no such file or directory"),
        (".ssh/f", 400, "hidden"),
        (".f", 400, "hidden"),
        ("", 409, "is not a file"),
        ("f%00", 400, ""),
        ("n" * 300, 400, "too long"),
        ("closed", 403, "rule 2"),
        ("away", 403, "No rule"),
        ("f", 412, "refused/f is there already"),
    ):
        answer = await tus.create(path, 5)
        assert answer.status in {status, 404 if status == 400 and "%00" in path else status}, (path, answer.body)
        assert said in answer.message, path
    (home / "d").mkdir()
    assert (await tus.create("d", 5)).status == 409
    assert (await tus.create("f", 5, If_Match='"1-2"')).status == 412
    assert (await tus.create("x", 2**62)).status == 400
    full = await tus.create("x", 2**40)
    assert full.status == 507 and "does not fit: its file system has 4.0 GiB left" in full.message
    for length in ("", "-1", "+1", "1e3", "0x1", "01", "9" * 40):
        assert (await tus.ask("POST", f"{tus.uploads}/x", Upload_Length=length)).status == 400, length
    assert (await tus.create("x", 5, Tus_Resumable="0.2.2")).status == 412
    assert (await tus.create("x", 5, Authorization="token nobodys")).status == 403
    assert (await tus.ask("POST", f"{tus.uploads}/x", b"12345", Upload_Length="5")).status in {413, 0}
    assert place.partials() == []
    assert list(place.outside.iterdir()) == []
    assert (home / "f").read_text() == "old"


@at("others")
async def test_other_peoples_uploads_wrong_places_and_wrong_numbers_are_refused(place: Place) -> None:
    tus, home = place.tus, place.home
    url = await tus.begin("f", 100)
    other = f"{tus.uploads}/f?upload={'0' * 32}"
    for target in (
        other,
        f"{tus.uploads}/g?{url.partition('?')[2]}",
        f"{tus.uploads}/closed/f?{url.partition('?')[2]}",
    ):
        for method in ("HEAD", "DELETE"):
            assert (await tus.ask(method, target)).status in {403, 404}, target
        assert (await tus.piece(target, 0, b"x")).status in {403, 404, 0}
    for bad in ("", "..%2F..%2Fetc%2Fpasswd", "0" * 31, "A" * 32, "0" * 64):
        assert (await tus.ask("HEAD", f"{tus.uploads}/f?upload={bad}")).status == 400
    for offset in ("-1", "1e2", "", "99999999999999999999"):
        assert (await tus.piece(url, 0, b"x", Upload_Offset=offset)).status in {400, 0}, offset
    for refused in (
        {"Content_Type": "text/plain"}, {"Upload_Checksum": "md5 x"}, {"Upload_Checksum": checksum(b"x")[:-1]},
        {"Repr_Digest": "sha-256=:AAAA:"}, {"Repr_Digest": whole(b"x")}, {"Upload_Offset": "1"},
        {"Content_Length": str(2**27)}, {"Content_Length": "101"}, {"Authorization": "token nobodys"},
        {"Transfer_Encoding": "chunked", "Content_Length": ""},
    ):  # fmt: skip
        answer = await tus.piece(url, 0, b"x", **refused)
        assert answer.status == 0 or 400 <= answer.status < 500, refused
    assert (await tus.ask("HEAD", url)).offset == 0

    # a partial file that is another one now: a link, somebody else's, another inode
    (partial,) = place.partials()
    (place.outside / "victim").write_text("victim")
    keep = home / "kept"
    partial.rename(keep)
    partial.symlink_to(place.outside / "victim")
    assert (await tus.piece(url, 0, b"attack")).status in {404, 0}
    partial.unlink()
    partial.write_text("")
    url = await tus.begin("f", 100)
    (partial,) = (path for path in place.partials() if url.endswith(path.name[-32:]))
    shutil.copy(partial, home / "copy")
    (home / "copy").replace(partial)
    assert (await tus.piece(url, 0, b"attack")).status in {404, 0}
    if os.geteuid() == 0:
        url = await tus.begin("f", 100)
        (partial,) = (path for path in place.partials() if url.endswith(path.name[-32:]))
        os.chown(partial, 12345, 12345)
        assert (await tus.ask("HEAD", url)).status in {403, 404}
    assert (place.outside / "victim").read_text() == "victim"


@at("swapped")
async def test_a_directory_that_became_a_link_meanwhile_gets_nothing(place: Place) -> None:
    tus, home = place.tus, place.home
    (home / "d").mkdir()
    url = await tus.begin("d/f", 6)
    outside = place.outside
    (home / "d").rename(home / "real")
    (home / "d").symlink_to(outside)
    assert (await tus.piece(url, 0, b"attack", Repr_Digest=whole(b"attack"))).status in {403, 404, 0}
    (home / "d").unlink()
    (home / "d").symlink_to("real")  # allowed in itself, and not where it was decided
    assert (await tus.piece(url, 0, b"attack", Repr_Digest=whole(b"attack"))).status in {403, 404, 0}
    assert list(outside.iterdir()) == [] and not (home / "real/f").exists()


@at("lies")
async def test_lies_about_hashes_leave_nothing_under_the_name(place: Place) -> None:
    tus, home = place.tus, place.home
    url = await tus.begin("f", 10)
    assert (await tus.piece(url, 0, b"0123", Upload_Checksum=checksum(b"01234"))).status == 460
    assert (await tus.ask("HEAD", url)).offset == 0
    assert (await tus.piece(url, 0, b"0123", Upload_Checksum=checksum(b"0123"))).offset == 4
    answer = await tus.piece(url, 4, b"456789", Repr_Digest=whole(b"0123456780"))
    assert answer.status == 422 and "SHA-256 differs" in answer.message
    assert (await tus.ask("HEAD", url)).status == 404
    assert place.partials() == [] and not (home / "f").exists()


@at("over")
async def test_nothing_is_overwritten_unless_its_very_content_was_named(place: Place) -> None:
    tus, home = place.tus, place.home
    url = await tus.begin("f", 3)
    (home / "f").write_text("came meanwhile")
    assert (await tus.piece(url, 0, b"new", Repr_Digest=whole(b"new"))).status == 412
    assert (home / "f").read_text() == "came meanwhile"
    answer = await tus.create("f", 3)
    assert answer.status == 412
    url = await tus.begin("f", 3, If_Match=answer.headers["etag"])
    (home / "f").write_text("changed meanwhile")
    assert (await tus.piece(url, 0, b"new", Repr_Digest=whole(b"new"))).status == 412
    assert (home / "f").read_text() == "changed meanwhile"
    (home / "f").chmod(0o640)
    etag = (await tus.create("f", 3)).headers["etag"]
    assert (await tus.send("f", b"new", If_Match=etag)).status == 204
    assert (home / "f").read_text() == "new" and (home / "f").stat().st_mode & 0o777 == 0o640


@at("slow")
async def test_a_slow_sender_is_cut_off_by_who_comes_back_and_two_never_write_at_once(place: Place) -> None:
    tus, data = place.tus, 3 * DATA
    url = await tus.begin("f", len(data))
    (partial,) = place.partials()
    _, slow = await asyncio.open_unix_connection(place.server.socket)
    named = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0", "Content-Length": str(len(data))}
    slow.write(tus.head("PATCH", url, named) + data[: len(data) // 2])
    await until(lambda: partial.stat().st_size)
    for method in ("HEAD", "DELETE"):  # of another file: nobody is cut off
        assert (await tus.ask(method, url.replace("/f?", "/closed/f?"))).status in {403, 404}
    assert (await tus.piece(url, 0, b"x")).status in {423, 0}
    at = (await tus.ask("HEAD", url)).offset
    assert 0 < at <= len(data) // 2
    answer = await tus.piece(url, at, data[at:], Repr_Digest=whole(data))
    assert answer.status == 204
    slow.close()
    assert (place.home / "f").read_bytes() == data


async def test_cuts_and_a_restart_are_survived_and_what_became_of_uploads_is_told(tmp_path: Path) -> None:
    server = RealServer(tmp_path)
    agent = Agent(server.private / "events.sock")
    try:
        await server.start(_rules(server.home))
        place = Place(server, "cuts")
        half = await _send_half(place)
        assert server.process is not None
        server.process.kill()
        server.process.wait()
        await server.start(_rules(server.home))
        async with agent.hearing(server.process.pid):
            await _send_rest(place, half)
            await _tell(place, agent)
    finally:
        server.stop()


async def _send_half(place: Place) -> tuple[str, int, str]:
    """An upload that is cut; and another one whose partial file is not what the server believes."""
    tus = place.tus
    url = await tus.begin("f%20%C3%A9", len(DATA))
    (partial,) = place.partials()
    assert partial.stat().st_mode & 0o777 == 0o600
    listing = await tus.ask("GET", f"{BASE}/api/contents/cuts")
    assert listing.status == 200 and b"hpcsec-upload" not in listing.body
    await tus.cut(url, 0, DATA, 300_000)
    async with asyncio.timeout(120):
        while (at := (await tus.json("uploads"))[0]["offset"]) == 0:
            await asyncio.sleep(0.05)
    assert at <= 300_000
    await tus.cut(url, at, DATA[at:], 200_000, Upload_Checksum=checksum(DATA[at:]))  # proves nothing: thrown away
    async with asyncio.timeout(120):
        while (await tus.piece(url, at, DATA[at : at + 1000])).status != 204:
            await asyncio.sleep(0.05)
    assert await _answered(tus, url, at) == 409  # a repeated piece
    assert await _answered(tus, url, at + 500) == 409  # an overlapping one
    at += 1000
    (line,) = await tus.json("uploads")
    assert (line["path"], line["offset"], line["length"]) == ("cuts/f é", at, len(DATA))
    bad = await tus.begin("bad", 10)
    assert (await tus.piece(bad, 0, b"01234")).offset == 5
    (partial,) = (path for path in place.partials() if bad.endswith(path.name[-32:]))
    partial.write_bytes(b"wrong")
    return url, at, bad


async def _answered(tus: Tus, url: str, at: int) -> int:
    """What a piece gets once no cut request is being looked up any more."""
    async with asyncio.timeout(120):
        while (status := (await tus.piece(url, at, DATA[at : at + 1000])).status) == 423:
            await asyncio.sleep(0.05)
    return status


async def _send_rest(place: Place, half: tuple[str, int, str]) -> None:
    (url, at, bad), tus = half, place.tus
    head = await tus.ask("HEAD", url)
    assert (head.offset, head.headers["upload-length"]) == (at, str(len(DATA)))
    assert head.headers["upload-expires"].endswith("GMT")
    answer = await tus.piece(url, at, DATA[at:], Upload_Checksum=checksum(DATA[at:]))
    target = place.home / "f é"
    assert answer.offset == len(DATA) and not target.exists()
    answer = await tus.piece(url, len(DATA), b"", Repr_Digest=whole(DATA))
    assert answer.status == 204 and answer.headers["repr-digest"] == whole(DATA)
    assert target.read_bytes() == DATA and target.stat().st_mode & 0o777 == 0o666 & ~_umask()
    assert (await tus.ask("HEAD", url)).status == 404
    assert (await tus.piece(bad, 5, b"56789", Repr_Digest=whole(b"0123456789"))).status == 422
    assert place.partials() == [] and await tus.json("uploads") == [] and not (place.home / "bad").exists()


async def _tell(place: Place, agent: Agent) -> None:
    tus, home = place.tus, place.home
    url = await tus.begin("f", 10)
    await tus.piece(url, 0, b"01234")
    assert (await tus.ask("DELETE", url)).status == 204
    assert place.partials() == [] and (await tus.ask("HEAD", url)).status == 404
    assert (await tus.send("empty", b"")).status == 204
    assert (home / "empty").read_bytes() == b""
    assert (await tus.send("g", DATA)).status == 204
    for path, status in (("closed/f", 403), ("none", 404), ("shown", 409), (".f", 400), ("../../../x", 404)):
        assert (await tus.ask("GET", f"{API}/digests/cuts/{path}")).status == status, path
    assert (await tus.ask("GET", f"{API}/digests/cuts/g", Authorization="token nobodys")).status == 403
    first = await tus.json("digests/cuts/g")
    (home / "g").write_bytes(b"changed")
    async with asyncio.timeout(120):
        while "sha256" not in (second := await tus.json("digests/cuts/g")):
            pass
    assert (first["size"], second["size"]) == (len(DATA), 7) and first["sha256"] != second["sha256"]
    await until(lambda: len(agent.of("node.file-hashed")) >= 2)
    (failed,) = agent.of("node.upload-failed")
    assert (failed.rule, failed.object.name) == ("upload.differs", str(home / "bad"))
    told = agent.of("node.upload-completed")[-1]
    assert (told.object.name, told.object.size, told.object.sha256) == (str(home / "g"), len(DATA), first["sha256"])
    assert [event.object.name for event in agent.of("node.access-refused")] == [str(home / "closed/f")]


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
