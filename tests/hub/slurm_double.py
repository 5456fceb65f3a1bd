"""Slurm's commands as small scripts over a directory: what was submitted can be looked at, states are files."""

import os
from pathlib import Path

SCRIPTS = {
    "sbatch": """
if [ "$1" = --test-only ]; then
  cat > "$D/tested"; if [ -e "$D/stuck" ]; then while [ -e "$D/stuck" ]; do sleep 0.05; done; fi
  cat "$D/foreseen" >&2 2>/dev/null && exit 0; exit 1
fi
if [ -e "$D/reject" ]; then cat "$D/reject" >&2; exit 1; fi
n=$(cat "$D/next"); echo $((n+1)) > "$D/next"
cat > "$D/$n.script"; env > "$D/$n.env"; printf '%s\\n' "$@" > "$D/$n.args"
if [ -e "$D/slow" ]; then : > "$D/taken"; while [ -e "$D/slow" ]; do sleep 0.05; done; fi
cat "$D/first" > "$D/$n.state"
echo "$n"
""",
    "squeue": """
printf '%s ' "$@" >> "$D/asked"; echo >> "$D/asked"
if [ -e "$D/down" ]; then cat "$D/down" >&2; exit 1; fi
for a in "$@"; do case $a in
  --jobs=*) n=${a#--jobs=}; if [ -e "$D/$n.state" ]; then cat "$D/$n.state"; exit 0; fi
    echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1;;
  --states=PENDING) cat "$D/queue" 2>/dev/null; exit 0;;
esac; done
exit 2
""",
    "scontrol": """
cat "$D/$4.detail" 2>/dev/null || { echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1; }
""",
    "scancel": """
printf '%s ' "$@" >> "$D/cancelled"; echo >> "$D/cancelled"
hard=yes; for a in "$@"; do case $a in --signal=TERM) hard=no;; esac; n=$a; done
if [ $hard = yes ] || [ ! -e "$D/stubborn" ]; then echo 'CANCELLED|None|N/A|node1' > "$D/$n.state"; fi
""",
}


class SlurmDouble:
    """The commands in ``directory/bin``; put it first in PATH."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.bin = directory / "bin"
        self.bin.mkdir()
        self.write("next", "7")
        self.write("first", "PENDING|Priority|N/A|n/a")
        for name, text in SCRIPTS.items():
            script = self.bin / name
            script.write_text(f"#!/bin/sh\nD={directory}\n{text}")
            script.chmod(0o755)

    @property
    def path(self) -> str:
        """PATH with the double's commands before all others."""
        return f"{self.bin}:{os.environ['PATH']}"

    def write(self, name: str, text: str = "") -> None:
        """Set a file of the directory."""
        (self.directory / name).write_text(text + "\n")

    def read(self, name: str) -> str:
        """A file of the directory; empty when it is not there."""
        path = self.directory / name
        return path.read_text() if path.exists() else ""

    def remove(self, name: str) -> None:
        """Take one away."""
        (self.directory / name).unlink()

    def job(self, job_id: str, state: str) -> None:
        """Set a job's line in squeue."""
        self.write(f"{job_id}.state", state)
