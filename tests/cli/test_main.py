"""The ``hpcsec`` command as a whole: what its subcommands have in common."""

import os
import subprocess
import sys


def test_a_reader_that_has_read_enough_is_no_error() -> None:
    """``hpcsec … | head``: no traceback, and a status that says that not all was said."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "jupyter_hpcsec.cli.main", "audit", "schema", "session.ended"]
    try:
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")
    assert subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0
