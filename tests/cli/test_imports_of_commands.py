"""A command imports what it uses, when it uses it: ``--help`` needs nothing that takes a second to be imported."""

import subprocess
import sys

import pytest

from jupyter_hpcsec.cli.main import COMMANDS

HEAVY = {"IPython", "jupyter_client", "jupyter_server", "jupyterhub", "nbformat", "notebook", "pandas", "sqlalchemy"}
PROGRAM = """
import sys
from jupyter_hpcsec.cli.main import build_parser
build_parser(sys.argv[1] or None)
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_the_arguments_of_a_command_need_nothing_heavy(command: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, command], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())
    assert command or "prometheus_client" not in done.stdout
