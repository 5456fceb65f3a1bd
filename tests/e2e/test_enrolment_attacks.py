"""Who else than the job itself can turn its token into a certificate? Nobody: with real jobs on the real cluster.

The token is stolen by root, which the threat model does not hold against us: it is to be worthless to whoever has it.
Each attack is refused by its own rule, is in the gateway's log, and changes nothing; then the true job enrols.
"""

import asyncio
import base64
import pwd
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.tunnel.admin import Registration
from tests.e2e.onnode import at_node, side_by_side
from tests.e2e.person import Person
from tests.e2e.site import HOLD, Site, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slurm, pytest.mark.timeout(300)]

ATTACK = """
import asyncio, base64, hashlib, json, logging, sys
from pathlib import Path
from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.hub.account import on_this_node
from jupyter_hpcsec.hub.credentials import JobCredentials
from jupyter_hpcsec.identity.authority import server_name
from jupyter_hpcsec.identity.munge import munge_encode, munge_payload
from jupyter_hpcsec.identity.tokens import unverified_session
from jupyter_hpcsec.tunnel.agent import Agent
asked = json.load(sys.stdin)
async def enrol():
    credentials, other = JobCredentials(), JobCredentials()
    evidence = {}
    session = asked.get("session") or unverified_session(asked["token"])
    if asked["munge"] == "own":
        evidence = {"munge": munge_encode(munge_payload(session, credentials.fingerprint()))}
    elif asked["munge"] == "other key":
        evidence = {"munge": munge_encode(munge_payload(session, other.fingerprint()))}
    agent = Agent(
        endpoints=asked["endpoints"], ca=base64.b64decode(asked["ca"]), credentials=credentials, targets={},
        hub_api_socket=Path("/nowhere"), log=logging.getLogger(),
        server_name=lambda ca: server_name(hashlib.sha256(ca).hexdigest()),
    )
    try:
        got = await agent.enrol(token=asked["token"], job_id=asked["job_id"], node=asked["node"], evidence=evidence,
            account=on_this_node({}))
        return {"enrolled": got.session}
    except HpcsecError as error:
        return {"rule": getattr(error, "rule", type(error).__name__), "reason": error.reason}
print(json.dumps(asyncio.run(enrol())))
"""
WORTH = ("id", "user", "uid", "state", "job_id", "node", "serial", "reason")


@pytest.fixture(autouse=True)
def nothing_else(site: Site) -> Iterator[None]:
    yield
    site.clear()


def loot(registration: Registration) -> dict[str, Any]:
    """What a thief of a job's environment has."""
    ca = base64.b64encode(registration.ca).decode()
    return {"token": registration.token, "endpoints": registration.endpoints, "ca": ca, "munge": "own"}


def environment_loot(environment: bytes) -> dict[str, Any]:
    found = dict(entry.partition("=")[::2] for entry in environment.decode(errors="replace").split("\0"))
    return {
        "token": found["HPCSEC_TOKEN"],
        "endpoints": found["HPCSEC_GATEWAY"].split(","),
        "ca": found["HPCSEC_CA"],
        "munge": "own",
    }


def stolen_from_a_running_job(job_id: str) -> dict[str, Any] | None:
    """Root reads the environment of the job's processes; ``None`` while Slurm has not started one yet."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"SLURM_JOB_ID={job_id}\0".encode() in environment and b"HPCSEC_TOKEN=" in environment:
                return environment_loot(environment)
    return None


def stolen_from_a_waiting_job(site: Site, job_id: str) -> dict[str, Any]:
    """Root reads what Slurm keeps of it."""
    state = site.cluster.state / "run" / "slurmctld"
    (path,) = state.glob(f"hash.*/job.{job_id}/environment")
    return environment_loot(path.read_bytes().replace(b"\0\0", b"\0"))


class Scene:
    """A session, its true job, and attacks on it."""

    def __init__(self, site: Site, session: str, what: dict[str, Any], job_id: str, node: str) -> None:
        self.site, self.session, self.what = site, session, {**what, "job_id": job_id, "node": node}
        self.node = node
        self.other = next(name for name in site.cluster.nodes if name != node)

    async def worth(self) -> dict[str, Any]:
        facts = await self.site.gateway.show(self.session)
        return {name: facts[name] for name in WORTH}

    def attack(self, *, at: str, user: str, **changes: Any) -> dict[str, Any]:
        return dict(at_node(self.site, at, ATTACK, {**self.what, **changes}, user))

    async def refused(self, rule: str, *, at: str, user: str, **changes: Any) -> None:
        before, log = await self.worth(), self.site.log("gateway").count(f"[{rule}]")
        answer = self.attack(at=at, user=user, **changes)
        assert answer.get("rule") == rule, answer
        assert await self.worth() == before
        assert self.site.log("gateway").count(f"[{rule}]") > log, f"{rule} is not in the gateway's log"
        assert self.what["token"] not in self.site.log("gateway")


async def submitted(site: Site, user: str = "alice", node: str = "node1", bind: bool = True) -> Scene:
    """A session whose job runs and leaves the enrolling to the test; no hub has a part in it."""
    uid = pwd.getpwnam(user).pw_uid
    launch = {"argv": ["true"], "env": {}, "base_url": f"/user/{user}/"}
    registration = await site.gateway.register(
        user=user, server="", uid=uid, lifetime_s=3600, launch=launch, home=f"/home/{user}"
    )
    job = sleeping_job(site, user, node)
    if bind:
        await site.gateway.bind_job(registration.session, job)
    return Scene(site, registration.session, loot(registration), job, node)


def sleeping_job(site: Site, user: str, node: str, *more: str) -> str:
    job = site.slurm("sbatch", "--parsable", "-n1", f"-w{node}", "-o/dev/null", *more, "--wrap=sleep 600", user=user)
    if not more:
        wait_until(lambda: site.job_state(job) == "RUNNING", f"job {job} runs")
    return job


async def test_a_stolen_token_is_worthless_to_all_others_and_good_for_its_job(
    site: Site, alice: Person, bob: Person
) -> None:
    hold = Path("/home/alice") / HOLD
    hold.touch()
    await alice.ask_for_server()
    progress = alice.progress()
    async for message in progress:
        if "Your job runs on" in message:
            break
    facts = await alice.session()
    job = facts["job_id"]
    node = site.slurm("squeue", "--noheader", f"--jobs={job}", "--format=%B")
    stolen = wait_until(lambda: stolen_from_a_running_job(job), f"a process of job {job} has a token")
    scene = Scene(site, facts["id"], stolen, job, node)
    bobs = sleeping_job(site, "bob", scene.node)

    # bob, from a job of his own on the very node
    await scene.refused("enrol.other-job", at=node, user="bob", job_id=bobs)
    await scene.refused("attest.munge-other-user", at=node, user="bob")
    await scene.refused("attest.munge-missing", at=node, user="bob", munge="none")
    # anybody from another node, whichever node they claim
    await scene.refused("attest.address", at=scene.other, user="alice")
    await scene.refused("attest.other-node", at=scene.other, user="alice", node=scene.other)
    await scene.refused("attest.address", at=scene.other, user="bob")
    # alice herself, outside her job: she would need what speaks for the agent's key and session
    await scene.refused("attest.munge-missing", at=node, user="alice", munge="none")
    await scene.refused("attest.munge-binding", at=node, user="alice", munge="other key")
    await scene.refused("attest.munge-binding", at=node, user="alice", session="0" * 32)

    hold.unlink()
    messages = [message async for message in progress]
    assert "Server ready" in messages[-1]
    assert (await scene.worth())["state"] == "ready"
    # and now it is used up, for its own job as well: no second agent for the session
    await scene.refused("enrol.token-used", at=node, user="alice")
    site.restart("gateway")
    while (await scene.worth())["state"] != "ready":  # the true agent comes back by itself
        await asyncio.sleep(0.1)
    await scene.refused("enrol.token-used", at=node, user="alice")
    await alice.open()


async def test_a_token_is_used_once_however_many_try_at_once(site: Site) -> None:
    scene = await submitted(site)
    tries = side_by_side({str(number): lambda: scene.attack(at="node1", user="alice") for number in range(5)}).values()
    won = [answer for answer in tries if "enrolled" in answer]
    assert [answer["enrolled"] for answer in won] == [scene.session]
    assert {answer["rule"] for answer in tries if answer not in won} <= {
        "enrol.token-used",
        "enrol.session",
        "enrol.session-not-waiting",
    }
    await site.gateway.end(scene.session, "the test is over")


async def test_a_job_that_waits_can_not_enrol_until_it_runs(site: Site) -> None:
    uid = pwd.getpwnam("alice").pw_uid
    launch = {"argv": ["true"], "env": {}, "base_url": "/user/alice/"}
    registration = await site.gateway.register(
        user="alice", server="", uid=uid, lifetime_s=3600, launch=launch, home="/home/alice"
    )
    what = loot(registration)
    variables = [f"HPCSEC_TOKEN={what['token']}", f"HPCSEC_CA={what['ca']}"]
    variables.append("HPCSEC_GATEWAY='" + ",".join(what["endpoints"]) + "'")
    job = site.slurm(
        "env", *[v.replace("'", "") for v in variables], "sbatch", "--parsable", "--hold", "-n1", "-wnode1",
        "-o/dev/null", "--wrap=sleep 600", user="alice",
    )  # fmt: skip
    await site.gateway.bind_job(registration.session, job)
    scene = Scene(site, registration.session, stolen_from_a_waiting_job(site, job), job, "node1")
    assert scene.what["token"] == registration.token
    await scene.refused("attest.pending", at="node1", user="alice")
    running = sleeping_job(site, "alice", "node1")  # her own, running, and another
    await scene.refused("enrol.other-job", at="node1", user="alice", job_id=running)
    site.slurm("scontrol", "release", job)
    wait_until(lambda: site.job_state(job) == "RUNNING", "the job runs")
    assert scene.attack(at="node1", user="alice") == {"enrolled": scene.session}
    await site.gateway.end(scene.session, "the test is over")


def make_ended(site: Site, scene: Scene) -> None:
    site.slurm("scancel", scene.what["job_id"])
    wait_until(lambda: site.job_state(scene.what["job_id"]) == "CANCELLED", "the job ended")


def make_requeued(site: Site, scene: Scene) -> None:
    job = scene.what["job_id"]
    site.slurm("scontrol", "requeuehold", job)
    wait_until(lambda: site.job_state(job) != "RUNNING", "the job is put back")

    def runs_again() -> bool:  # Slurm puts the start off by minutes, at a moment of its own after the job's end
        site.slurm("scontrol", "update", f"jobid={job}", "StartTime=now", must=False)
        site.slurm("scontrol", "release", job, must=False)
        time.sleep(0.5)  # the scheduler is left the time to act on it
        return site.job_state(job) == "RUNNING"

    wait_until(runs_again, "the job runs again", patience_s=300)


def make_suspended(site: Site, scene: Scene) -> None:
    site.slurm("scontrol", "suspend", scene.what["job_id"])
    wait_until(lambda: site.job_state(scene.what["job_id"]) == "SUSPENDED", "the job is suspended")


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("change", "rule"),
    [(make_ended, "attest.ended"), (make_requeued, "attest.requeued"), (make_suspended, "attest.not-running")],
)
async def test_a_job_that_does_not_run_as_it_did_can_not_enrol(
    site: Site, change: Callable[[Site, Scene], None], rule: str
) -> None:
    scene = await submitted(site)
    change(site, scene)
    await scene.refused(rule, at="node1", user="alice")
    await site.gateway.end(scene.session, "the test is over")


async def test_a_job_of_someone_else_can_not_enrol_even_if_the_session_were_bound_to_it(site: Site) -> None:
    scene = await submitted(site, bind=False)
    bobs = sleeping_job(site, "bob", "node1")
    await site.gateway.bind_job(scene.session, bobs)
    await scene.refused("attest.other-user", at="node1", user="bob", job_id=bobs)
    await scene.refused("attest.other-user", at="node1", user="alice", job_id=bobs)
    await scene.refused("enrol.other-job", at="node1", user="alice")
    await site.gateway.end(scene.session, "the test is over")
    await scene.refused("enrol.session", at="node1", user="alice")


async def test_ids_and_names_that_are_none_reach_no_command(site: Site) -> None:
    scene = await submitted(site)
    for job_id in ("", "-h", "1;id", "../1", "1 2"):
        await scene.refused("enrol.form", at="node1", user="alice", job_id=job_id)
    for node in ("", "-h", "node1,node2", "node[1-2]", "../node1"):
        await scene.refused("enrol.form", at="node1", user="alice", node=node)
    assert scene.attack(at="node1", user="alice")["enrolled"] == scene.session
    await site.gateway.end(scene.session, "the test is over")
