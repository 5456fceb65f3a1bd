"""Run attempts: each in a process of its own, with a time limit and a directory of its own.

What an attempt does to itself (namespaces, limits, filters) ends with its process; everything that it started is
killed with it. A process that a signal ended is a refusal only for SIGSYS, which is seccomp's.
"""

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from jupyter_hpcsec.access.prctl import SET_PDEATHSIG, prctl
from jupyter_hpcsec.errors import Unavailable, printable
from jupyter_hpcsec.ops.attack.targets import Targets
from jupyter_hpcsec.ops.attack.values import Attempt, Conditions, Ending, NotTried, Outcome, Tried

LIMIT_S = 30.0
DETAIL_LIMIT = 200


def run_all(
    attempts: Iterable[Attempt], targets: Targets, conditions: Conditions, *, limit_s: float = LIMIT_S
) -> Iterator[Tried]:
    """Try each in turn."""
    for attempt in attempts:
        yield Tried(attempt, attempt.expect(conditions), run_one(attempt, targets, limit_s=limit_s))


def run_one(attempt: Attempt, targets: Targets, *, limit_s: float = LIMIT_S) -> Outcome:
    """Try one. ``targets.scratch`` is where its directory is made, and removed."""
    try:
        scratch = Path(tempfile.mkdtemp(prefix="hpcsec-attack-", dir=targets.scratch)).resolve()
    except OSError as error:
        raise Unavailable(f"Nothing can be written in {targets.scratch}: {error.strerror}.") from error
    try:
        return in_process(lambda: attempt.run(replace(targets, scratch=scratch)), limit_s=limit_s)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def in_process(act: Callable[[], str], *, limit_s: float) -> Outcome:
    """Run a function in a forked process and wait for its word."""
    reader, writer = os.pipe()
    parent, child = os.getpid(), os.fork()
    if child == 0:
        os.close(reader)
        _report(act, writer, parent)
    os.close(writer)
    with open(reader, "rb") as said:  # noqa: PTH123 - a descriptor
        content = _read_until(said.fileno(), time.monotonic() + limit_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)  # before it had a group of its own
    _, status = os.waitpid(child, 0)
    if content is None:
        return Outcome(Ending.NOT_TRIED, f"no answer within {limit_s:g} s")
    if content:
        word = json.loads(content)
        return Outcome(Ending(word["ending"]), printable(word["detail"], DETAIL_LIMIT))
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSYS:
        return Outcome(Ending.REFUSED, "killed by SIGSYS")
    return Outcome(Ending.FAILED, f"the attempt's process ended without a word ({os.waitstatus_to_exitcode(status)})")


def _read_until(fd: int, end: float) -> bytes | None:
    """One line, or what came before the end of file; None when the time is up."""
    content = b""
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while not content.endswith(b"\n"):
            if not selector.select(max(0.0, end - time.monotonic())):
                return None
            if not (more := os.read(fd, 4096)):
                return content
            content += more
    return content


def _report(act: Callable[[], str], writer: int, parent: int) -> None:
    """The child's whole life; never returns."""
    try:
        os.setsid()
        prctl(SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        pid = os.getpid()
        outcome = outcome_of(act)
        if os.getpid() == pid:  # an attempt's own child that came here by mistake says nothing
            line = json.dumps({"ending": outcome.ending, "detail": outcome.detail[:1000]}).encode() + b"\n"
            os.write(writer, line)
    finally:
        os._exit(0)


def outcome_of(act: Callable[[], str]) -> Outcome:
    """What a function's end means."""
    try:
        return Outcome(Ending.SUCCEEDED, act())
    except NotTried as error:
        return Outcome(Ending.NOT_TRIED, str(error))
    except subprocess.TimeoutExpired as error:
        return Outcome(Ending.NOT_TRIED, f"{error.cmd[0]} gave no answer within {error.timeout:g} s")
    except TimeoutError:
        return Outcome(Ending.NOT_TRIED, "no answer from the other end")
    except OSError as error:
        return Outcome(Ending.REFUSED, error.strerror or str(error))
    except Exception as error:  # noqa: BLE001 - told to the admin as a defect of the suite, which fails the run
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(Ending.FAILED, f"{type(error).__name__} in {where.name}, line {where.lineno}: {error}")
