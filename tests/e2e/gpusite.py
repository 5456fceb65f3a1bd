"""A site whose nodes have simulated GPUs, root's prolog and epilog in the real slurmd, and root's watch on each node.

Everything but the GPUs is real. Each node has a state of its own that root's part sees; sessions see another one, so
that a session's watch can be made to lie.
"""

import json
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_hpcsec.gpu import standin
from jupyter_hpcsec.gpu.launch import MAPS
from jupyter_hpcsec.gpu.standin import Gpu
from jupyter_hpcsec.ops.cluster import Cluster
from jupyter_hpcsec.ops.cluster_plan import NODE_GPUS
from tests.e2e.onnode import at_node, python
from tests.e2e.site import PRODUCTION, Part, Site, wait_until
from tests.hub.rules import write_policy
from tests.hub.test_units import LIKE_SYSTEMD, calls

SPOOL = "/run/hpcsec-node"
"""On each node's own /run."""
GPUS = [Gpu(number) for number in range(NODE_GPUS)]
SPAWNER = """
import json
from jupyter_hpcsec.hub.spawner import HpcsecSlurmSpawner
class Simulated(HpcsecSlurmSpawner):
    def gpu_settings(self, groups):
        return json.dumps({{**json.loads(super().gpu_settings(groups)), **{given!r}}})
c.JupyterHub.spawner_class = Simulated
c.HpcsecSlurmSpawner.profiles = [
    {{"name": "gpu", "title": "One GPU", "cpus": 1, "memory_gib": 1, "minutes": 30, "gpus": 1}}
]
"""
PROCESSES = """
import json, os, sys
found = []
for name in filter(str.isdecimal, os.listdir("/proc")):
    try:
        with open(f"/proc/{name}/cmdline", "rb") as file: words = file.read().decode(errors="replace")
        with open(f"/proc/{name}/status") as file: status = dict(line.split(":", 1) for line in file if ":" in line)
    except OSError:
        continue
    found.append([int(name), int(status["Uid"].split()[0]), words, int(status["NSpid"].split()[-1])])
print(json.dumps(found))
"""
"""Of each process: its pid here, its account, its command line, its pid in the innermost namespace."""


class GpuSite(Site):
    """``place`` is a directory that everybody may read, on every node."""

    def __init__(self, cluster: Cluster, place: Path) -> None:
        super().__init__(cluster)
        self.place = place
        self.library = standin.build(place)
        self.show("session")
        self.watches: dict[str, Part] = {}
        for node in cluster.nodes:
            self.show(node)

    def show(self, whose: str, *lines: str) -> None:
        """What there is on the GPUs, for root on a node (its name) or for the watches of ``session``s."""
        standin.write_state(self.place / f"{whose}.state", [*(gpu.line() for gpu in GPUS), *lines])

    def _gateway_config(self) -> str:
        return super()._gateway_config() + "c.HpcsecGateway.node_helpers = True\n"

    def _hub_config(self) -> str:
        given = {"stand_in": str(self.library), "state": str(self.place / "session.state"), "interval_s": 1.0}
        return super()._hub_config() + SPAWNER.format(given=given)

    def start(self) -> None:
        super().start()
        # with GPUs that are devices, sessions see root's maps without being allowed to
        read = f'["{self.place}", "{MAPS}"]'
        write_policy(self.policy, f'- {{who: "*", allow: {{write: ["{{home}}"], read: {read}}}}}\n')
        authority = subprocess.run(
            [*self._hpcsec("keys", "authority"), "--socket", self.run / "admin.sock"], capture_output=True, check=True
        )
        (self.place / "ca.pem").write_bytes(authority.stdout)

    def stop(self) -> None:
        for watch in self.watches.values():
            watch.end()
        super().stop()

    @staticmethod
    def _hpcsec(*words: str) -> list[str]:
        return [sys.executable, "-I", "-m", "jupyter_hpcsec.cli.main", *words]

    def watch(self, node: str) -> None:
        """Start root's watch on a node, with the umask, system calls and capabilities that its unit leaves it."""
        unit = (PRODUCTION.parent / "hpcsec-gpu-node.service").read_text()
        filters = [line.partition("=")[2] for line in unit.splitlines() if line.startswith("SystemCallFilter=")]
        limits = {"uid": 0, "groups": [], "umask": 0o077, "calls": calls(filters)}
        assert "UMask=0077" in unit and "CapabilityBoundingSet=CAP_SYS_PTRACE" in unit and "\nUser=" not in unit
        argv = [
            *("env", f"{standin.STATE_VARIABLE}={self.place / f'{node}.state'}"),
            *(python(self), "-I", "-c", LIKE_SYSTEMD, json.dumps(limits)),
            *("/usr/bin/setpriv", "--bounding-set=-all,+sys_ptrace", "--inh-caps=-all", "--no-new-privs"),
            *(python(self), "-I", "-m", "jupyter_hpcsec.cli.main", "gpu", "node", "watch"),
            *("--gateway", self.endpoints[0], "--ca", str(self.place / "ca.pem"), "--node", node),
            *("--spool", SPOOL, "--interval", "1", "--stand-in", str(self.library)),
            *("--settings", json.dumps({"foreign_s": 2, "clear_s": 2})),
        ]
        inside = self.cluster.node_command(node, argv)
        self.watches[node] = Part(inside, self.environment, Path("/"), self.state / "log" / f"watch-{node}.log")
        self.watches[node].start()

    def script(self, when: str) -> Path:
        """The shipped prolog or epilog, for the simulated GPUs and this Python."""
        state = f"{standin.STATE_VARIABLE}={self.place}/$SLURMD_NODENAME.state"
        text = (PRODUCTION.parent / f"gpu_{when}.sh").read_text()
        text = text.replace("/opt/jupyter/bin/python3", f"/usr/bin/env {state} {python(self)}")
        text = text.replace(f"node {when}", f"node {when} --stand-in {self.library} --spool {SPOOL}")
        path = self.place / f"{when}.sh"
        path.write_text(text.replace("epilog --stand-in", "epilog --wait 1 --stand-in"))
        path.chmod(0o755)
        return path

    @contextmanager
    def slurm_with_scripts(self) -> Iterator[None]:
        """Slurm's own configuration with the scripts in it, as the documentation says, and without them afterwards."""
        path = self.cluster.slurm_conf
        before = path.read_text()
        lines = f"Prolog={self.script('prolog')}\nPrologFlags=Alloc\nEpilog={self.script('epilog')}\n"
        try:
            path.write_text(before + lines)
            self.slurm("scontrol", "reconfigure")
            for node in self.cluster.nodes:
                wait_until(lambda node=node: self._ran_its_prolog(node), f"the slurmd of {node} knows the prolog")
            yield
        finally:
            path.write_text(before)
            self.slurm("scontrol", "reconfigure")
            for node in self.cluster.nodes:
                self.slurm("scontrol", "update", f"NodeName={node}", "State=RESUME", must=False)

    def _ran_its_prolog(self, node: str) -> bool:
        job = self.slurm("sbatch", "--parsable", f"-w{node}", "-o/dev/null", "--wrap=true", user="alice")
        wait_until(lambda: self.job_state(job) == "COMPLETED", f"job {job} is over")
        return self.cluster.node_exec(node, ["test", "-e", SPOOL]).returncode == 0

    def events(self, *question: str) -> list[dict[str, Any]]:
        """What is on record, as somebody who looks after security reads it."""
        where = ["--directory", self.state / "gateway" / "audit", "--socket", self.run / "admin.sock"]
        done = subprocess.run(
            [*self._hpcsec("audit", "query", "--format", "json"), *where, *question], capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return [json.loads(line)["event"] for line in done.stdout.splitlines()]

    def event(self, kind: str, *question: str, **facts: Any) -> dict[str, Any]:
        """The first event of a kind with these fields; waits for it."""

        def found() -> dict[str, Any] | None:
            return next(
                (each for each in self.events("--kind", kind, *question) if facts.items() <= each.items()), None
            )

        return dict(wait_until(found, f"{kind} {facts} is on record"))

    def processes(self, node: str) -> Iterable[tuple[int, int, str, int]]:
        """See ``PROCESSES``."""
        return [(pid, uid, words, inner) for pid, uid, words, inner in at_node(self, node, PROCESSES)]


@contextmanager
def gpu_site(cluster: Cluster) -> Iterator[GpuSite]:
    """The whole of it, on a cluster that is up and nobody else's."""
    place = Path("/srv") / f"hpcsec-test-{secrets.token_hex(4)}"
    place.mkdir()
    try:
        site = GpuSite(cluster, place)
        try:
            site.start()
            with site.slurm_with_scripts():
                for node in cluster.nodes:
                    site.watch(node)
                yield site
                site.clear()
        finally:
            site.stop()
    finally:
        shutil.rmtree(place)


def other_than(node: str, cluster: Cluster) -> str:
    """Another node."""
    return next(name for name in cluster.nodes if name != node)
