"""Root's part on nodes with GPUs, with a real slurmd, munged and gateway: one job from its prolog to its epilog.

The GPUs are simulated; everything else is real. First who can't speak in a node's name, then what root's word is good
for: against a session whose watch lies, a stranger on the job's GPU, and what is left there after the job.
"""

import asyncio
import base64
import json
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from jupyter_hpcsec.gpu.standin import GIB, process
from tests.e2e.clusteruse import cluster_use
from tests.e2e.gpusite import GPUS, GpuSite, gpu_site, other_than
from tests.e2e.onnode import at_node
from tests.e2e.person import Person
from tests.e2e.site import PATIENCE_S, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slurm, pytest.mark.timeout(600)]

AS_A_NODE = """
import asyncio, base64, json, sys, tempfile
from pathlib import Path
from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.hub.nodehelper import RootCredentials
from jupyter_hpcsec.identity.authority import authority_name
from jupyter_hpcsec.tunnel.nodelink import NodeLink
from jupyter_hpcsec.tunnel.nodespool import NodeSpool
asked = json.load(sys.stdin)
async def enrol(place):
    link = NodeLink(
        NodeSpool(place), RootCredentials(asked["node"]), node=asked["node"], endpoints=asked["endpoints"],
        ca=base64.b64decode(asked["ca"]), server_name=authority_name, say=print,
    )
    try:
        await link._enrol()
        return {"enrolled": asked["node"]}
    except HpcsecError as error:
        return {"rule": getattr(error, "rule", type(error).__name__), "reason": error.reason}
with tempfile.TemporaryDirectory() as place:
    print(json.dumps(asyncio.run(enrol(Path(place) / "spool"))))
"""
"""Enrol as a node's helper, with a real MUNGE credential of whoever runs this."""
MAP = 'import json, os, sys; path = f"/run/hpcsec/gpu/{json.load(sys.stdin)}.json"; '
READ_MAP = MAP + "print(json.dumps([os.stat(path).st_uid, json.load(open(path))] if os.path.exists(path) else None))"
KILL = "import json, os, sys; print(json.dumps(os.kill(json.load(sys.stdin), 9)))"


@pytest.fixture(scope="module")
def site() -> Iterator[GpuSite]:
    with cluster_use() as cluster:
        cluster.up()
        with gpu_site(cluster) as made:
            yield made


async def as_a_node(site: GpuSite, *, at: str, node: str, user: str | None) -> dict[str, Any]:
    ca = base64.b64encode(bytes.fromhex((await site.gateway.status())["ca_certificate"])).decode()
    return dict(at_node(site, at, AS_A_NODE, {"node": node, "endpoints": site.endpoints, "ca": ca}, user))


@contextmanager
def stranger(site: GpuSite, node: str) -> Iterator[int]:
    """A process of bob's on a node, in no job; its pid there."""
    argv = site.cluster.node_command(node, ["sh", "-c", "echo $$; exec cat"], user="bob")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            yield int(running.stdout.readline())
        finally:
            running.kill()


async def test_nobody_but_root_on_the_node_tells_in_its_name(site: GpuSite) -> None:
    node, other = site.cluster.nodes
    for at, user, rule in (
        (node, "alice", "attest.munge-other-user"),  # a user, from the node itself
        (other, None, "attest.address"),  # root, of another node
        (other, "alice", "attest.address"),
    ):
        answer = await as_a_node(site, at=at, node=node, user=user)
        assert answer.get("rule") == rule, answer
        source = site.cluster.plan.node(at).address
        refused = site.event("enrolment.refused", node=node, rule=rule, source=source)
        assert (refused["trust"], refused["decision"]) == ("gateway", "refused")
        assert f"[{rule}]" in site.log("gateway")
    for each in site.cluster.nodes:
        enrolled = site.event("node.helper-enrolled", node=each)
        assert (enrolled["source"], enrolled["decision"]) == (site.cluster.plan.node(each).address, "allowed")
        site.event("gpu.node-heartbeat", node=each, trust="node", told_by=f"node/{each}/gpu")


async def test_a_job_with_a_gpu_from_its_prolog_to_its_epilog(site: GpuSite, alice: Person) -> None:
    assert "Server ready" in (await alice.start(profile="gpu"))[-1]
    facts = await alice.session()
    session, job, node = facts["id"], facts["job_id"], facts["node"]
    root = {"node": node, "job": job, "told_by": f"node/{node}/gpu", "trust": "node"}

    # 1. The prolog wrote down what slurmd gave, as root, and it is on record as root's word.
    given = site.slurm("scontrol", "show", "job", "-d", job)
    [device] = [gpu.uuid for number, gpu in enumerate(GPUS) if f"(IDX:{number})" in given]
    number = [gpu.uuid for gpu in GPUS].index(device)
    uid = pwd.getpwnam("alice").pw_uid
    assert at_node(site, node, READ_MAP, job) == [0, {"job": job, "devices": [device], "uid": uid}]
    assert site.event("gpu.node-job", **root, state="begun")["devices"] == device

    # 2. A kernel on the GPU: the session's own watch believes root's map, and root sees the same.
    kernel = await alice.kernel()
    inside = int(await kernel.run("import os; print(os.getpid())"))
    [here] = [pid for pid, of, words, inner in site.processes(node)
              if (of, inner) == (uid, inside) and kernel.id in words]  # fmt: skip
    site.show("session", process(number, inside, 4 * GIB))
    site.show(node, process(number, here, 4 * GIB))

    async def panel() -> dict[str, Any]:
        return dict((await alice.browser.fetch("GET", f"{alice.base()}hpcsec/api/gpu")).json())

    shown = await panel()
    async with asyncio.timeout(PATIENCE_S):
        while not (shown["kernels"] and shown["kernels"][0]["memory"] == 4 * GIB):
            await asyncio.sleep(0.2)
            shown = await panel()
    assert shown["verified"] is True and shown["simulated"] is True
    assert [each["uuid"] for each in shown["devices"] if each["allocated"]] == [device]

    # 3. The session's watch begins to lie; meanwhile its sampler is killed by its own user, and bob comes along.
    site.show("session")
    [sampler] = [
        pid for pid, of, words, _ in site.processes(node) if of == uid and "jupyter_hpcsec.gpu.sampler" in words
    ]
    at_node(site, node, KILL, sampler, "alice")
    own = {"session": session, "trust": "node", "told_by": "server"}
    site.event("gpu.watch", **own, state="stopped")
    with stranger(site, node) as visitor:
        site.show(node, process(number, here, 4 * GIB), process(number, visitor, 2 * GIB))
        found = site.event("gpu.node-alert", part="watch", rule="R1", state="raised", device=device, pid=visitor)
        assert (found["node"], found["trust"], found["simulated"]) == (node, "node", True)
        assert json.loads(found["evidence"])["whose"] == "of no job"
        hidden = site.event("gpu.disagreement", session=session, state="raised")
        assert (hidden["rule"], hidden["trust"], hidden["device"]) == ("gpu.hidden", "gateway", device)
        assert str(here) in json.loads(hidden["evidence"])["root"]

        # 4. The job ends, bob stays: the epilog finds him and drains the node, with the reason.
        kernel.close()
        site.show(node, process(number, visitor, 2 * GIB))
        await alice.stop()
        left = site.event("gpu.node-alert", **root, session=session, part="epilog", rule="processes")
        assert (left["state"], left["action"]) == ("found", "drain") and str(visitor) in left["reason"]
        site.event("gpu.node-job", **root, session=session, state="over")
        assert at_node(site, node, READ_MAP, job) is None
        wait_until(lambda: "DRAIN" in site.slurm("scontrol", "show", "node", node), f"{node} is drained")
        assert f"hpcsec gpu: job {job}: process {visitor}" in site.slurm("scontrol", "show", "node", node)

    # 5. He is gone, and the node is taken back.
    site.show(node)
    site.slurm("scontrol", "update", f"NodeName={node}", "State=RESUME")
    wait_until(lambda: site.slurm("sinfo", "-h", "-n", node, "-o", "%T") == "idle", f"{node} is idle")
    site.event("gpu.node-alert", part="watch", rule="R1", state="cleared", device=device, pid=visitor)
    for each in (node, other_than(node, site.cluster)):
        site.watches[each].check()
