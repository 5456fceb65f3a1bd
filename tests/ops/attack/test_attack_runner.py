"""Attempts run apart: limits, signals and their own children stay with them, and their ends are told apart."""

import errno
import os
import signal
import time
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.ops.attack.making import attempt, beyond
from jupyter_hpcsec.ops.attack.runner import in_process, run_one
from jupyter_hpcsec.ops.attack.targets import Targets
from jupyter_hpcsec.ops.attack.values import Ending, Group, NotTried, Outcome


def refused() -> str:
    raise PermissionError(errno.EACCES, "Permission denied")


def missing() -> str:
    raise NotTried("no program")


def broken() -> str:
    raise ZeroDivisionError("a defect")


def killed(number: int) -> str:
    os.kill(os.getpid(), number)
    return "still here"


def slow() -> str:
    time.sleep(60)
    return "late"


def test_a_refusal_has_the_kernels_word() -> None:
    assert in_process(refused, limit_s=10) == Outcome(Ending.REFUSED, "Permission denied")


def test_what_could_not_be_tried_says_why() -> None:
    assert in_process(missing, limit_s=10) == Outcome(Ending.NOT_TRIED, "no program")


def test_a_defect_is_no_refusal() -> None:
    found = in_process(broken, limit_s=10)
    assert found.ending is Ending.FAILED
    assert "ZeroDivisionError" in found.detail


def test_too_slow_is_not_tried() -> None:
    assert in_process(slow, limit_s=0.2).ending is Ending.NOT_TRIED


def test_only_sigsys_is_a_refusal() -> None:
    assert in_process(lambda: killed(signal.SIGSYS), limit_s=10).ending is Ending.REFUSED
    assert in_process(lambda: killed(signal.SIGKILL), limit_s=10).ending is Ending.FAILED


def test_evidence_comes_back_bounded_and_printable() -> None:
    found = in_process(lambda: "x\x1b" * 10_000, limit_s=10)
    assert found.ending is Ending.SUCCEEDED
    assert len(found.detail) <= 200 and "\x1b" not in found.detail


def test_what_an_attempt_started_ends_with_it(tmp_path: Path) -> None:
    def start() -> str:
        child = os.fork()
        if child == 0:
            time.sleep(60)
        (tmp_path / "pid").write_text(str(child))
        return "started"

    assert in_process(start, limit_s=10).ending is Ending.SUCCEEDED
    pid = int((tmp_path / "pid").read_text())
    while _runs(pid):
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] not in {"Z", "X"}
    except FileNotFoundError:
        return False


def test_its_directory_is_made_and_removed(tmp_path: Path) -> None:
    @attempt(Group.FILES, "x", "X", {})
    def leave(t: Targets) -> str:
        """Leave something."""
        (t.scratch / "something").touch()
        return str(t.scratch)

    found = run_one(leave, Targets(scratch=tmp_path))
    assert Path(found.detail).parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_nowhere_to_write_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="Nothing can be written"):
        run_one(attempt(Group.FILES, "x", "X", {})(str), Targets(scratch=tmp_path / "none"))


def test_beyond_tells_a_sign_from_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "full/child").mkdir(parents=True)
    assert beyond((tmp_path / "full").rmdir, errno.ENOTEMPTY).startswith("allowed")
    with pytest.raises(OSError, match="not empty"):
        beyond((tmp_path / "full").rmdir, errno.EISDIR)
