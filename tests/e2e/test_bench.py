"""``hpcsec bench tunnel`` with the real parts and little load: what it measures is there, and nothing stays behind."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from jupyter_hpcsec.ops.bench.ssh import SBIN

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(180),
    pytest.mark.skipif(shutil.which("sshd", path=SBIN) is None, reason="needs openssh-server to compare with"),
]

SHORT = """
import sys
from dataclasses import replace
from jupyter_hpcsec.ops.bench import tunnel
from jupyter_hpcsec.cli.main import main

tunnel.QUICK = replace(
    tunnel.QUICK, rounds=2, least_rounds=1, measure_s=0.1, size=8 << 20, requests=10, keystrokes=20, sessions=6
)
sys.exit(main(["bench", "tunnel", "--quick", "--json"]))
"""


def bench(temporary: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SHORT],
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


def processes_with(words: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if words in command:
                found.append(command)
    return found


def test_a_directory_in_which_no_socket_fits_is_refused(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    ran = bench(long)
    assert ran.returncode == 1
    assert "set TMPDIR" in ran.stderr
    assert list(long.iterdir()) == []


def test_one_short_run() -> None:
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp"))  # sockets below it need a short path
    try:
        ran = bench(directory)
        assert ran.returncode == 0, ran.stderr
        found = json.loads(ran.stdout)
        assert list(directory.iterdir()) == []
        assert processes_with(str(directory)) == []
    finally:
        shutil.rmtree(directory)
    assert {"download", "download8", "upload", "one_shot", "keep_alive", "keystroke", "idle", "used"} <= set(
        found["measures"]
    )
    assert set(found["measures"]["download"]["ways"]) == {"direct", "tunnel", "ssh", "ssh_default_cipher"}
    assert len(found["numbers"]) == 5
    ratios = [number for number in found["numbers"] if number["unit"] != "bytes"]
    assert len(ratios) == 4
    assert all(number["value"] > 0 for number in ratios)  # so few idle sessions may fit into memory that was there
    assert {"cpu_s_per_gib_gateway", "cpu_s_per_gib_agent"} <= set(found["measures"]["download"]["ways"]["tunnel"])
