"""Whether there are namespaces is tried, not guessed: an ordinary user has them here, and not inside a session."""

from pathlib import Path

import pytest

from jupyter_hpcsec.access import landlock, mounts, probe
from tests.access.inside import a_home, give, inside, outside

PROGRAM = """
    import subprocess, sys
    done = subprocess.run([sys.executable, "-I", "-S", sys.argv[1]], capture_output=True, text=True)
    print(done.returncode, done.stdout.strip())
"""


@pytest.mark.skipif(landlock.abi() < 4 or bool(mounts.probe()), reason="needs Landlock ABI 4 and user namespaces")
def test_it_says_what_is_so_and_why_not() -> None:
    assert outside(PROGRAM, probe.__file__, cwd=Path("/")) == "0 \n"
    with a_home() as home:
        give(home.parent)
        done = inside(PROGRAM, probe.__file__, rules=[(home, "write")], cwd=home)
    assert done.out == "1 No space left on device\n", "user.max_user_namespaces is 0 inside"


def test_a_probe_that_breaks_is_no_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "probe_command", lambda: ["/bin/false"])
    assert mounts.probe() == "the probe failed"
    monkeypatch.setattr(mounts, "probe_command", lambda: ["/bin/sh", "-c", "echo Permission denied; exit 1"])
    assert mounts.probe() == "Permission denied"
