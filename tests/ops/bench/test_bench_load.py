"""The load generator against its own server: what it must not take for a success comes first."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.ops.bench import load_client, load_server
from jupyter_hpcsec.ops.bench.buffers import CHUNK, aligned
from jupyter_hpcsec.ops.bench.load import LoadClient, module, until_exists, where
from jupyter_hpcsec.ops.family import Family


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "server.sock"
    with subprocess.Popen(module("ops.bench.load_server", str(path))) as process:
        while not path.exists():
            time.sleep(0.01)
        while True:
            try:
                load_client.connect(str(path)).close()
            except ConnectionRefusedError:
                time.sleep(0.01)
            else:
                break
        yield str(path)
        process.terminate()


def answering(answer: bytes, times: int = 1) -> Callable[[Path], str]:
    """A server that gives one answer and ends the connection."""

    def listen(directory: Path) -> str:
        path = str(directory / "one.sock")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(1)

        def serve() -> None:
            with listener:
                for _ in range(times):
                    with listener.accept()[0] as connection:
                        connection.recv(4096)
                        connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return path

    return listen


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "no answer"),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "503"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "5 of 100"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nshort", "instead of 100"),
    ],
)
def test_a_download_that_is_not_whole_is_an_error(tmp_path: Path, answer: bytes, words: str) -> None:
    with pytest.raises((OSError, ValueError), match=words):
        load_client.download(answering(answer)(tmp_path), "/bytes/100", 100, 1)


def test_an_upload_that_nobody_takes_is_an_error(tmp_path: Path) -> None:
    with pytest.raises((OSError, ValueError)):
        load_client.upload(answering(b"HTTP/1.1 403 Forbidden\r\n\r\n")(tmp_path), 1000, 1)


def test_an_error_in_one_of_many_threads_is_not_lost() -> None:
    def fail() -> None:
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        load_client.in_threads(fail, 3)


@pytest.mark.parametrize("streams", [1, 8])
def test_bytes_arrive(server: str, streams: int) -> None:
    size = 3 * CHUNK + 17
    assert load_client.download(server, f"/bytes/{size}", size, streams)["seconds"] > 0
    assert load_client.upload(server, size, streams)["seconds"] > 0


def test_small_requests_on_one_connection_or_on_many(server: str) -> None:
    many = load_client.one_shot(server, "/small", 5, 0)
    assert len(many["total"]) == len(many["first_byte"]) == 5
    assert all(first <= total for first, total in zip(many["first_byte"], many["total"], strict=True))
    one = load_client.keep_alive(server, "/small", 7)
    assert (len(one["total"]), one["connections"]) == (7, 1)


def test_a_browser_connects_anew_when_the_answer_was_the_last(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    path = answering(answer, times=3)(tmp_path)
    assert load_client.keep_alive(path, "/small", 3)["connections"] == 3


def test_keystrokes_beside_a_download(server: str) -> None:
    background = load_client.Background()
    background.start(server, 1 << 40)
    assert len(load_client.keystrokes(server, 4, 0.001, 64)["total"]) == 4
    done = background.stop()
    assert done["bytes"] > 0


def test_a_background_that_breaks_says_so_when_it_ends(tmp_path: Path) -> None:
    background = load_client.Background()
    background.start(str(tmp_path / "nothing.sock"), 1)
    with pytest.raises(OSError, match="background"):
        background.stop()


def test_the_length_of_a_body() -> None:
    assert load_server.length_of(["PUT / HTTP/1.1", "Host: x"]) == 0
    assert load_server.length_of(["PUT / HTTP/1.1", "content-LENGTH: 12"]) == 12


def test_buffers_begin_where_copies_are_fast() -> None:
    view = aligned()
    view[0] = 1
    assert len(view) == CHUNK


def test_an_entrance_is_a_path_or_an_address() -> None:
    assert where(Path("/x")) == "/x"
    assert where(("127.0.0.1", 80)) == ["127.0.0.1", 80]


CLIENT = """
import asyncio, json, sys
from pathlib import Path
from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.ops.bench.load import LoadClient
from jupyter_hpcsec.ops.family import Family

async def main() -> None:
    directory = Path(sys.argv[1])
    family = Family(directory)
    client = LoadClient("load", family, directory)
    await client.start()
    try:
        try:
            await client.order("keep_alive", where=str(directory / "nothing.sock"), path="/", count=1)
        except HpcsecError as error:
            print(error)
        print(json.dumps(await client.order("keep_alive", where=sys.argv[2], path="/small", count=3)))
    finally:
        client.close()
        print(await family.end(5, asyncio.Event()))

asyncio.run(main())
"""


def test_orders_are_answered_and_errors_come_back(server: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", CLIENT, str(tmp_path), server], capture_output=True, text=True, check=True, timeout=60
    )
    refusal, answer, killed = ran.stdout.splitlines()
    assert refusal.startswith("keep_alive failed: ")
    assert len(json.loads(answer)["total"]) == 3
    assert json.loads(answer)["cpu"] > 0
    assert killed == "[]"


async def test_an_order_before_the_start_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="BUG"):
        await LoadClient("x", cast("Family", None), tmp_path).order("stop")


async def test_what_does_not_come_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    class Quiet(Family):
        def __init__(self) -> None:
            self.parts = {}

    with pytest.raises(Unavailable, match="the thing did not begin"):
        await until_exists(tmp_path / "never", Quiet(), "the thing", 0.05)
    (tmp_path / "never").touch()
    await until_exists(tmp_path / "never", Quiet(), "the thing", 0.05)
    assert os.access(tmp_path / "never", os.F_OK)
