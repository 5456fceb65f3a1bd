"""Processes are found by descent and ended, also those that fork twice, open a session or fork without end."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from jupyter_hpcsec.hub.processes import Process, descendants, own_children, parse_stat, processes, read_process


def run(program: str) -> str:
    """Run a program in its own interpreter: becoming a subreaper is for life."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_name_with_spaces_and_parentheses_misleads_nobody() -> None:
    line = "42 (a) R 1 (b) S 7 42 42 0 -1 1 2 3 4 5 6 7 8 9 20 0 1 0 9999 0 0"
    assert parse_stat(line) == Process(pid=42, parent=7, state="S", started=9999)


def test_this_process_is_there_and_a_gone_one_is_not() -> None:
    assert processes()[os.getpid()].parent == os.getppid()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert read_process(gone.pid) is None


def test_descent_is_by_parent() -> None:
    table = {pid: Process(pid, parent, "S", 1) for pid, parent in [(1, 0), (2, 1), (3, 2), (4, 1), (5, 9)]}
    assert sorted(descendants(2, table)) == [3]
    assert sorted(descendants(1, table)) == [2, 3, 4]
    assert descendants(5, table) == []


def test_own_children_are_told_at_once() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in own_children()
        child.kill()
    assert child.pid not in own_children()


def test_a_kernel_without_a_list_of_children_tells_none(tmp_path: Path) -> None:
    (tmp_path / "self" / "task" / "1").mkdir(parents=True)
    assert own_children(tmp_path) == []


DOUBLE_FORK = """
    import os, subprocess, sys, time
    from jupyter_hpcsec.hub import processes as p
    {setup}
    child = "import os,sys,time; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0);"
    child += "print(os.getpid(), flush=True); time.sleep(600)"
    orphan = int(subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE).stdout.readline())
    while p.read_process(orphan).parent not in (1, os.getpid(), {outer}): time.sleep(0.01)
    left = p.kill_descendants(patience_s=10)
    alive = p.read_process(orphan)
    print("all" if left else "some", "alive" if alive and not alive.is_zombie else "gone")
    if alive: os.kill(orphan, 9)
"""


@pytest.mark.parametrize(("setup", "fate"), [("", "alive"), ("p.become_subreaper()", "gone")])
def test_a_double_forked_child_is_ended_by_a_subreaper_only(setup: str, fate: str) -> None:
    init = subreaper_above()
    assert run(DOUBLE_FORK.format(setup=setup, outer=init)).split() == ["all", fate]


def subreaper_above() -> int:
    """Who adopts an orphan of this test's process: init, or a subreaper that runs the tests."""
    program = "import os,time\nfirst=os.getpid()\nif os.fork(): os._exit(0)\n"
    program += "while os.getppid() == first: time.sleep(.01)\nprint(os.getppid())"
    return int(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)


def test_a_process_that_forks_without_end_is_ended() -> None:
    out = run("""
        import subprocess, sys, time
        from jupyter_hpcsec.hub import processes as p
        p.become_subreaper()
        # each generation leaves one successor and goes: there is never the same pid twice
        racer = "import os,time\\nprint(1, flush=True)\\nend=time.time()+40\\n"
        racer += "while time.time() < end:\\n  if os.fork(): os._exit(0)\\n  time.sleep(.001)"
        subprocess.Popen([sys.executable, "-c", racer], stdout=subprocess.PIPE).stdout.readline()
        print(p.kill_descendants(patience_s=20))
    """)
    assert out.strip() == "True"


def test_reaping_leaves_the_one_that_is_waited_for_elsewhere() -> None:
    out = run("""
        import os, subprocess, sys, time
        from jupyter_hpcsec.hub import processes as p
        kept = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"])
        while not p.read_process(kept.pid).is_zombie: time.sleep(0.01)
        p.reap(but=kept.pid)
        print(kept.wait())
        other = os.fork()
        if not other: os._exit(0)
        while not p.read_process(other).is_zombie: time.sleep(0.01)
        p.reap()
        print(p.read_process(other))
    """)
    assert out.split() == ["7", "None"]


def test_what_can_not_be_ended_in_time_is_said() -> None:
    out = run("""
        import subprocess, sys
        from jupyter_hpcsec.hub import processes as p
        p.become_subreaper()
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        p.signal_process, real = lambda pid, number: None, p.signal_process  # as if it were another user's
        ticks = iter(range(100))
        print(p.kill_descendants(patience_s=3, clock=lambda: next(ticks), sleep=lambda s: None))
        real(child.pid, 9)
    """)
    assert out.strip() == "False"
