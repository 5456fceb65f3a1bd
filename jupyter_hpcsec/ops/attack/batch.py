"""Attempts by way of programs that act elsewhere: the batch system, other hosts, cron, systemd.

They are asked for what changes nothing: a test of a submission, a list, the keys of a host.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from jupyter_hpcsec.ops.attack.making import attempt, collect
from jupyter_hpcsec.ops.attack.targets import Targets
from jupyter_hpcsec.ops.attack.values import Attempt, Group, Stop, not_tried

WAIT_S = 8
BROKER = {Stop.MOUNTS: 0, Stop.LANDLOCK: 4}
"""The service's socket is absent, and its port is none that is allowed."""
SPOOL = {Stop.MOUNTS: 0, Stop.NO_NEW_PRIVILEGES: 0}
"""Its files are absent, and its program gains no right to write them."""
FAIRLY = "It answers as it would outside."


def program(command: Sequence[str], title: str, stops: Mapping[Stop, int], *, says: str = "") -> Attempt:
    """The attempt to run a command that must succeed, or say ``says``, only if it reached what it is for."""
    name = "-".join([command[0], *(word for word in command[1:] if word.isalpha())])

    @attempt(Group.BATCH, name, title, stops)
    def run(_: Targets) -> str:
        path = shutil.which(command[0])
        if path is None:
            not_tried(f"{command[0]} is not here, or it is hidden")
        done = subprocess.run(
            [path, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
            timeout=WAIT_S,
        )
        output = done.stdout.decode(errors="replace").strip()
        if done.returncode == 0 or (says and says in output):
            return f"{command[0]} did it"
        last = output.splitlines()[-1][:120] if output else ""
        raise PermissionError(done.returncode, f"{command[0]} ended with {done.returncode}: {last}")

    return Attempt(
        id=run.id, group=run.group, title=title, tries=f"Run `{' '.join(command)}`.", run=run.run, stops=stops
    )


sbatch = program(["sbatch", "--test-only", "--wrap=true"], "Submit a job", BROKER, says="to start at")
srun = program(["srun", "--test-only", "true"], "Start a job step", BROKER, says="to start at")
scancel = program(["scancel", "--signal=0", "--state=PENDING", "--me"], "Cancel jobs", BROKER)
squeue = program(["squeue", "--me", "--noheader"], "Ask about jobs", BROKER)
scontrol = program(["scontrol", "ping"], "Reach the batch system's controller", BROKER)
qstat = program(["qstat", "-B"], "Reach PBS", BROKER)
bjobs = program(["bjobs", "-a"], "Reach LSF", BROKER, says="No job found")
ssh = program(
    ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=3", "localhost", "true"], "Log in by ssh", BROKER,
    says="Permission denied (",
)  # fmt: skip
at = program(["at", "-l"], "Use at", SPOOL)
crontab = program(["crontab", "-l"], "Use cron", SPOOL, says="no crontab for")
systemd = program(
    ["systemctl", "--user", "--no-pager", "list-units", "--quiet"], "Reach the user's systemd", {Stop.MOUNTS: 0}
)
systemd_run = program(
    ["systemd-run", "--user", "--wait", "--quiet", "true"], "Run by the user's systemd", {Stop.MOUNTS: 0}
)

ATTEMPTS = collect(vars())
