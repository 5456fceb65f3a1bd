"""The rival of ``bench start``: plain batchspawner with an open port on the node, over the same local batch system.

For the benchmark only: it mounts batchspawner's callback, which lets a job set any attribute of its spawner, and its
servers listen on a port.
"""

import importlib
import sys
from pathlib import Path
from typing import Any

import batchspawner
from jupyterhub.traitlets import Command
from traitlets import Unicode

importlib.import_module("batchspawner.api")  # the callback by which batchspawner-singleuser reports its port

_PROGRAMS = Path(sys.executable).parent
_JOBS = f"{sys.executable} -I -m jupyter_hpcsec.hub.localjob"


class PlainSpawner(batchspawner.BatchSpawnerRegexStates):
    """As batchspawner's documentation has it: the job picks a port, reports it, and listens."""

    demo_home = Unicode(help="Home directory of the jobs.").tag(config=True)
    batch_script = Unicode('#!/bin/sh\nexport HOME="$HPCSEC_BENCH_HOME"\ncd "$HOME" && exec {cmd}\n').tag(config=True)
    batch_submit_cmd = Unicode(f"{_JOBS} submit").tag(config=True)
    batch_query_cmd = Unicode(f"{_JOBS} state {{job_id}}").tag(config=True)
    batch_cancel_cmd = Unicode(f"{_JOBS} cancel {{job_id}}").tag(config=True)
    state_pending_re = Unicode("^PENDING").tag(config=True)
    state_running_re = Unicode("^RUNNING").tag(config=True)
    exec_prefix = Unicode("").tag(config=True)
    batchspawner_singleuser_cmd = Unicode(str(_PROGRAMS / "batchspawner-singleuser")).tag(config=True)
    cmd = Command([str(_PROGRAMS / "jupyterhub-singleuser")]).tag(config=True)

    def get_args(self) -> list[str]:
        """Root runs benchmarks, too."""
        return [*super().get_args(), "--allow-root"]

    def get_env(self) -> dict[str, Any]:
        """What the hub gives, and where this benchmark's files are."""
        return {**super().get_env(), "HPCSEC_BENCH_HOME": self.demo_home}

    def state_gethost(self) -> str:
        """The one computer that there is."""
        return "127.0.0.1"
