"""The progress bar: on a terminal, and nowhere else."""

import io
import os
import pty

from jupyter_hpcsec.ops.audit.proving import Bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal() -> None:
    out = Terminal()
    bar = Bar(out)
    for done in (256, 512, 1000):
        bar(done, 1000)
    assert "100%" in out.getvalue()
    bar(10, 10)  # the next thing that takes its time
    assert "10.0/10.0" in out.getvalue()


def test_no_bar_in_a_file() -> None:
    out = io.StringIO()
    Bar(out)(1000, 1000)
    assert out.getvalue() == ""


def test_a_real_terminal_gets_one() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as out:
        Bar(out)(5, 5)
        assert b"5.00" in os.read(ours, 4096)
    os.close(ours)
