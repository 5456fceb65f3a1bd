"""Upload and download against a real jupyter_server; a difference is refused first."""

import hashlib
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.ops.browser import Browser
from jupyter_hpcsec.ops.transfer import CHUNK, compare, download, upload, upload_bodies


@pytest.mark.parametrize("received", [("b" * 64, 5), ("a" * 64, 4), ("", 0)])
def test_a_difference_is_refused(received: tuple[str, int]) -> None:
    with pytest.raises(Refused, match="Sent 5 bytes"):
        compare(("a" * 64, 5), received)


def test_chunks_are_numbered_and_the_last_is_marked() -> None:
    assert [body["chunk"] for body in upload_bodies(iter([b"a", b"b", b"c"]), 3)] == [1, 2, -1]
    assert [body["chunk"] for body in upload_bodies(iter([b"a"]), 1)] == [-1]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A plain JupyterLab that asks for a token; its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=secret", "--allow-root"]
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", f"--ServerApp.root_dir={tmp_path}", *options],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "JUPYTER_RUNTIME_DIR": str(tmp_path / "r")},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            assert process.poll() is None
            try:
                httpx.get(f"{url}/api", trust_env=False)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


@pytest.mark.e2e
async def test_a_file_comes_back_as_it_was_sent(server: str, tmp_path: Path) -> None:
    blocks = [random.Random(seed).randbytes(CHUNK) for seed in range(2)] + [b"the rest"]  # noqa: S311
    browser = Browser(server)
    try:
        with pytest.raises(Refused):
            await upload(browser, "/", "file.bin", iter(blocks), 3)
        assert not (tmp_path / "file.bin").exists()
        await browser.page("/lab", token="secret")
        digest = await upload(browser, "/", "file.bin", iter(blocks), 3)
        whole = b"".join(blocks)
        assert digest == hashlib.sha256(whole).hexdigest() and (tmp_path / "file.bin").read_bytes() == whole
        received = await download(browser, "/", "file.bin")
        assert compare((digest, len(whole)), received) == {"bytes": len(whole), "sha256": digest}
        (tmp_path / "file.bin").write_bytes(whole[:-1] + b"T")
        with pytest.raises(Refused):
            compare((digest, len(whole)), await download(browser, "/", "file.bin"))
        with pytest.raises(Refused, match="404"):
            await download(browser, "/", "absent.bin")
    finally:
        await browser.close()
