"""Giving up privileges: nothing is left of root's, and nothing comes back by executing something."""

import os
import subprocess
import sys

import pytest

from tests.nobody import run_python

PROGRAM = """
    import os, subprocess
    from jupyter_hpcsec.access.prctl import drop_capabilities
    drop_capabilities()
    print(subprocess.run(["grep", "^Cap", "/proc/self/status"], capture_output=True, text=True).stdout)
"""


def test_an_ordinary_user_has_none_to_give_up() -> None:
    held = {line.split()[0]: int(line.split()[1], 16) for line in run_python(PROGRAM).splitlines() if line}
    assert held["CapEff:"] == held["CapPrm:"] == held["CapAmb:"] == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_has_none_left() -> None:
    import textwrap

    program = textwrap.dedent(PROGRAM)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    before = subprocess.run(["grep", "^CapEff", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
    assert int(before.split()[1], 16) != 0
    assert {int(line.split()[1], 16) for line in done.stdout.splitlines() if line} == {0}
