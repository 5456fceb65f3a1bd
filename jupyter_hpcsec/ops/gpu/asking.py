"""One scan of driver and ``/proc`` by a process of its own, with a time limit: a driver may hang."""

import os
import subprocess
import sys

import msgspec

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.gpu.samples import Scan
from jupyter_hpcsec.gpu.standin import STATE_VARIABLE

ASK_S = 30.0
LINE_LIMIT = 16 << 20


def scan(stand_in: str = "", state: str = "", limit_s: float = ASK_S) -> Scan:
    """What is on the GPUs now. ``Unavailable`` for a driver that does not answer in time, or at all."""
    command = [sys.executable, "-I", "-m", "jupyter_hpcsec.gpu.sampler", "--server", "0"]
    if stand_in:
        command += ["--stand-in", stand_in]
    asked = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        # nothing of the caller's environment: it could name a library that lies
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", STATE_VARIABLE: state if stand_in else ""},
    )  # fmt: skip
    try:
        line, _ = asked.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired as error:
        # not waited for: a process that hangs in the driver can't be killed, and would hang this one
        asked.kill()
        raise Unavailable(f"the driver did not answer in {limit_s:g} s.") from error
    try:
        return msgspec.json.decode(line.split(b"\n", 1)[0][:LINE_LIMIT], type=Scan)
    except msgspec.DecodeError as error:
        raise Unavailable("the process that asks the driver ended without an answer.") from error
