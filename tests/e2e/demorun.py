"""``hpcsec quickstart`` as a person starts it: a process whose terminal shows one-time links.

Run as a program it is the same command with resource profiles, which the quickstart itself does not offer.
"""

import os
import queue
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jupyter_hpcsec.cli.main import main
from jupyter_hpcsec.ops import quickstart, sites

LINK = re.compile(r"http://127\.0\.0\.1:[0-9]+/hub/onetime\?code=[A-Za-z0-9_-]{43}(&next=\S+)?")
PATIENCE_S = 90.0
HOLD = "TEST_HOLD"
PROFILES = [
    {
        "name": "small",
        "title": "Small",
        "description": "For a first look at data.",
        "cpus": {"min": 1, "max": 8, "default": 2},
        "memory_gib": {"min": 1, "max": 32, "default": 8},
        "minutes": {"min": 30, "max": 480, "default": 120},
    },
    {
        "name": "gpu",
        "title": "One node with GPUs",
        "description": "For training. Expect to wait in the queue.",
        "partition": "gpu",
        "gpu_type": "a100",
        "cpus": {"min": 1, "max": 64, "default": 8},
        "memory_gib": 128,
        "gpus": {"min": 1, "max": 4, "default": 1},
        "minutes": {"min": 30, "max": 240, "default": 60},
    },
]


class Quickstart:
    """One run. ``stop`` is Ctrl-C, and demands a clean end."""

    def __init__(
        self,
        *,
        profiles: bool = False,
        private: bool = False,
        locked: bool = False,
        hold: Path | None = None,
        gpus: int = 0,
    ) -> None:
        """``hold``: with profiles, jobs run and do not come to enrol while this file is there. ``gpus``: simulated."""
        program = [__file__] if profiles else ["-m", "jupyter_hpcsec.cli.main"]
        if private or locked:
            program = [str(Path(__file__).with_name("privaterun.py" if private else "lockedrun.py"))]
        argv = [sys.executable, *program, "quickstart", *(["--fake-gpus", str(gpus)] if gpus else [])]
        self._links: queue.Queue[str] = queue.Queue()
        self._auditor_links: queue.Queue[str] = queue.Queue()
        self.lines: list[str] = []
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), HOLD: str(hold or "")}
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line)
            if found := LINK.search(line):
                (self._auditor_links if found[1] else self._links).put(found[0])

    def link(self) -> str:
        """The next link that the terminal shows."""
        return self._next(self._links)

    def auditor_link(self) -> str:
        """The same for the person who looks after security; it leads to the console."""
        return self._next(self._auditor_links)

    def _next(self, links: "queue.Queue[str]") -> str:
        try:
            return links.get(timeout=PATIENCE_S)
        except queue.Empty:
            raise AssertionError("no link was shown:\n" + "".join(self.lines)) from None

    def hpcsec(self, *words: str) -> str:
        """What the command prints, asked of this quickstart's gateway."""
        (state,) = (found[1] for line in self.lines if (found := re.search(r"(/\S+/hpcsec-\S+) \(0700", line)))
        argv = [sys.executable, "-m", "jupyter_hpcsec.cli.main", *words, "--socket", f"{state}/run/admin.sock"]
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=PATIENCE_S).stdout

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            assert self._process.wait(PATIENCE_S) == 0, "".join(self.lines)
        finally:
            self._process.kill()
            self._reader.join()


class SiteWithProfiles(sites.LocalSite):
    """This computer, with a choice, and a person whose name is not that of whoever runs the tests."""

    def open(self, say: sites.Say) -> None:
        super().open(say)
        self.user = "ada"

    def spawner_settings(self, state: Path, admin_socket: Path) -> dict[str, dict[str, Any]]:
        settings = super().spawner_settings(state, admin_socket)
        settings["QuickstartSpawner"]["profiles"] = PROFILES
        settings["QuickstartSpawner"]["batch_estimate_cmd"] = "date '+to start at %Y-%m-%dT%H:%M:%S'"
        settings["QuickstartSpawner"]["estimate_wait"] = 30.0
        hold = shlex.quote(os.environ.get(HOLD, ""))
        settings["QuickstartSpawner"]["req_prologue"] = f"while [ -e {hold} ]; do sleep 0.1; done"
        return settings


def choose_site(*, slurm: bool, fake_gpus: bool = False) -> sites.Site:
    assert not slurm
    return SiteWithProfiles()


def run_with_profiles(arguments: Sequence[str]) -> int:
    quickstart.choose_site = choose_site
    return main(list(arguments))


if __name__ == "__main__":
    sys.exit(run_with_profiles(sys.argv[1:]))
