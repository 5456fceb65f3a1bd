"""Where the demo's jobs run: on this computer by itself, or on the development cluster, a real Slurm.

A ``Site`` knows what differs: user, addresses, attestors, spawner, how to look at a session's ports, and how to leave
nothing behind. ``open`` and ``close`` may take seconds and block; what one has begun the other undoes.
"""

import json
import os
import pwd
import subprocess
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.ops.cluster import Cluster
from jupyter_hpcsec.ops.ports import LOOPBACK, Claim, claim_any
from jupyter_hpcsec.ops.session_ports import NOTHING, View, agents, look

Say = Callable[[str], None]
STOP_GRACE_S = 5
"""Seconds that a job has to end by itself; a demo's ends at once."""
START_TIMEOUT_S = 120
CLUSTER_USER = "alice"


class Site(Protocol):
    """See the module."""

    user: str
    gateway: str
    attestors: tuple[str, ...]
    spawner: str
    variables: Mapping[str, str]
    programs: Mapping[str, tuple[str, ...]]
    """Name and command line of what says its version."""

    def open(self, say: Say) -> None:
        """Make it ready; the attributes are valid after that."""

    def spawner_settings(self, state: Path, admin_socket: Path) -> dict[str, dict[str, Any]]:
        """Configuration sections for JupyterHub."""

    def look(self, jobs: Collection[str], ours: Collection[int]) -> View:
        """The processes of the demo's jobs and their open ports; ``ours`` are the demo's own processes."""

    def cancel(self, jobs: Iterable[str]) -> None:
        """End jobs that the hub left behind."""

    def close(self) -> None:
        """Undo ``open``."""


@dataclass
class LocalSite:
    """This computer: jobs are processes of the same user, and end with the demo's own."""

    user: str = field(default_factory=lambda: pwd.getpwuid(os.geteuid()).pw_name)
    gateway: str = ""
    attestors: tuple[str, ...] = ("none",)
    spawner: str = "jupyter_hpcsec.ops.demo_spawner.QuickstartSpawner"
    variables: Mapping[str, str] = field(default_factory=dict)
    programs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    has_fake_gpus: bool = False
    _claim: Claim | None = None

    def open(self, say: Say) -> None:
        """Only an address is needed."""
        self._claim = claim_any()
        self.gateway = f"{LOOPBACK}:{self._claim.port}"

    def spawner_settings(self, state: Path, admin_socket: Path) -> dict[str, dict[str, Any]]:
        """Home and temporary files of the job are the demo's."""
        return {
            "QuickstartSpawner": {
                "admin_socket": str(admin_socket),
                "demo_home": str(state / "home"),
                "demo_user": self.user,
                "fake_gpus": str(fake_gpus(state)) if self.has_fake_gpus else "",
                "batch_env_keep": ["PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "HPCSEC_LOCALJOB_DIR"],
                "start_timeout": START_TIMEOUT_S,
                "stop_grace": STOP_GRACE_S,
            }
        }

    def look(self, jobs: Collection[str], ours: Collection[int]) -> View:
        """From here: the agents among our descendants."""
        return look(sorted(set(agents()) & set(ours)))

    def cancel(self, jobs: Iterable[str]) -> None:
        """They are our descendants, and are ended as such."""

    def close(self) -> None:
        """Let go of the gateway's port."""
        if self._claim is not None:
            self._claim.close()


@dataclass
class ClusterSite:
    """The development cluster (root). It is brought up if absent, and then taken down again."""

    cluster: Cluster = field(default_factory=Cluster)
    user: str = CLUSTER_USER
    gateway: str = ""
    attestors: tuple[str, ...] = ("scheduler", "munge")
    spawner: str = "jupyter_hpcsec.hub.spawner.HpcsecSlurmSpawner"
    variables: Mapping[str, str] = field(default_factory=dict)
    programs: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"slurm": ("sinfo", "--version"), "munge": ("munge", "--version")}
    )
    _is_ours: bool = False

    def open(self, say: Say) -> None:
        """Bring the cluster up, or mend it."""
        self._is_ours = not self.cluster.status().is_up
        self.cluster.up(say=say)
        self.gateway = f"{self.cluster.head_address}:{self.cluster.gateway_port}"
        self.variables = {"SLURM_CONF": str(self.cluster.slurm_conf)}

    def spawner_settings(self, state: Path, admin_socket: Path) -> dict[str, dict[str, Any]]:
        """Jobs run as the cluster's user, with the Python that all its users can read."""
        return {
            "HpcsecSlurmSpawner": {
                "admin_socket": str(admin_socket),
                "node_python": str(self.cluster.environment / "bin" / "python"),
                "start_timeout": START_TIMEOUT_S,
                "stop_grace": STOP_GRACE_S,
            }
        }

    def look(self, jobs: Collection[str], ours: Collection[int]) -> View:
        """From inside each node, as root."""
        python = str(self.cluster.environment / "bin" / "python")
        seen = NOTHING
        for node in self.cluster.nodes:
            done = self.cluster.node_exec(node, [python, "-I", "-m", "jupyter_hpcsec.ops.session_ports", *sorted(jobs)])
            if done.returncode != 0:
                raise Unavailable(f"The processes on {node} can't be looked at: {done.stderr.strip()[-200:]}")
            found = View(**json.loads(done.stdout))
            seen += View(found.agents, found.processes, [{"node": node, **port} for port in found.ports])
        return seen

    def cancel(self, jobs: Iterable[str]) -> None:
        """``scancel`` of a job that has ended changes nothing."""
        names = sorted(jobs)
        if names and self.variables:
            environment = {**os.environ, **self.variables}
            subprocess.run(["scancel", *names], env=environment, check=False, timeout=30, capture_output=True)

    def close(self) -> None:
        """Down again, if we brought it up."""
        if self._is_ours:
            self.cluster.down()


def choose_site(*, slurm: bool, fake_gpus: bool = False) -> Site:
    """The site of a demo."""
    return ClusterSite() if slurm else LocalSite(has_fake_gpus=fake_gpus)


def fake_gpus(state: Path) -> Path:
    """Where the simulated GPUs are: in the demo's home, which the session sees and its cells may play with."""
    return state / "home" / ".fake-gpus"
