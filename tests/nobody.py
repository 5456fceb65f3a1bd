"""Run a program as an ordinary user: root passes every check that is to be seen here."""

import os
import subprocess
import sys
import textwrap

NOBODY = 65534


def prefix() -> list[str]:
    """Put before a command; empty for those who are not root anyway."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all"]


def run_python(program: str, *, timeout_s: float = 60) -> str:
    """What a Python program prints, run by an ordinary user in an interpreter of its own; it has to succeed."""
    done = subprocess.run(
        [*prefix(), sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True, text=True, timeout=timeout_s, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
