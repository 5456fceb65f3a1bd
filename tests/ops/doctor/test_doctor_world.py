"""The real world, asked on this machine: refusals keep their kind, answers their shape."""

import socket
import threading
from pathlib import Path
from urllib.parse import quote

import pytest

from jupyter_hpcsec.ops.doctor.world import FileFact, RealWorld


def test_commands() -> None:
    world = RealWorld()
    assert world.run(["no-such-command-here"]) is None
    assert not world.has_command("no-such-command-here")
    ran = world.run(["cat"], stdin="round")
    assert ran is not None
    assert (ran.rc, ran.out) == (0, "round")
    with pytest.raises(TimeoutError, match="did not end"):
        RealWorld(timeout_s=0.05).run(["sleep", "60"])


def test_files(tmp_path: Path) -> None:
    world = RealWorld()
    file = tmp_path / "key"
    file.write_text("x")
    file.chmod(0o640)
    (tmp_path / "link").symlink_to(file)
    assert world.stat(tmp_path / "none") is None
    assert world.stat(file) == FileFact(0o640, file.stat().st_uid, "file")
    link = world.stat(tmp_path / "link")
    assert link is not None
    assert link.kind == "other"
    assert world.listdir(tmp_path) == ["key", "link"]
    assert world.read(file) == "x"


def test_http_refuses_what_is_no_http(tmp_path: Path) -> None:
    world = RealWorld(timeout_s=5)
    with pytest.raises(OSError, match="not an http"):
        world.http("file:///etc/passwd")
    with pytest.raises(FileNotFoundError):
        world.http("http://hub/", unix=tmp_path / "none.sock")


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n", b"", b"HTTP/1.1 204 No Content\r\nDate: now\r\n\r\n"])
@pytest.mark.parametrize(("url", "unix"), [("http://hub/hub/api", True), ("http+unix://{path}/hub/api", False)])
def test_http_over_a_unix_socket(tmp_path: Path, answer: bytes, url: str, unix: bool) -> None:
    path = tmp_path / "hub.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        address = url.format(path=quote(str(path), safe=""))
        try:
            if answer.startswith(b"HTTP"):
                got = RealWorld(timeout_s=5).http(address, unix=path if unix else None)
                assert (got.status, got.headers["date"]) == (204, "now")
            else:
                with pytest.raises(OSError):  # noqa: PT011 - the kind is what the checks rely on
                    RealWorld(timeout_s=5).http(address, unix=path if unix else None)
        finally:
            thread.join()


def test_the_kernel_answers() -> None:
    world = RealWorld()
    assert world.landlock_abi() >= 0
    assert world.clock().max_error_s >= 0
    assert world.user_name(0) == "root"
    assert world.user_name(2**31 - 7) == str(2**31 - 7)
