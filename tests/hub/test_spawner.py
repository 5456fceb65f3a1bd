"""The spawner against a real admin API, a real database of JupyterHub's, and Slurm's commands as scripts."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub import orm
from jupyterhub.objects import Hub, Server
from jupyterhub.user import User
from traitlets import TraitError
from traitlets.config import Config

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.gpu import launch as gpu_launch
from jupyter_hpcsec.hub import account as accounts
from jupyter_hpcsec.hub.batch import batchspawner
from jupyter_hpcsec.hub.follow import SpawnFailed
from jupyter_hpcsec.hub.spawner import (
    HpcsecLocalSpawner,
    HpcsecLsfSpawner,
    HpcsecPBSSpawner,
    HpcsecSlurmSpawner,
    HpcsecSpawnerMixin,
)
from tests.hub.gateway_double import GatewayDouble, running
from tests.hub.slurm_double import SlurmDouble

PROFILE = {
    "name": "small",
    "title": "Small",
    "partition": "main",
    "cpus": {"min": 1, "max": 8, "default": 2},
    "memory_gib": 8,
    "minutes": 120,
}
EVIL = {
    "batch_script": "#!/bin/sh\nid",
    "cmd": "evil",
    "prologue": "evil",
    "req_prologue": "evil",
    "exec_prefix": "evil",
    "partition": "main\n#SBATCH --uid=0",
    "runtime": "{{ 7 * 7 }}",
}


class OwnSlurmSpawner(HpcsecSlurmSpawner):
    """Every user is the account that runs the tests."""

    def account(self) -> accounts.Account:
        accounts.NAME.fullmatch(self.user.name)
        return accounts.own()


Make = Callable[..., Any]


@pytest.fixture
def db() -> Any:
    session = orm.new_session_factory(url="sqlite:///:memory:")()
    session.add(orm.OAuthClient(identifier="jupyterhub"))
    session.add(orm.User(name="alice"))
    session.commit()
    return session


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayDouble]:
    (tmp_path / "g").mkdir()
    async with running(tmp_path / "g") as double:
        yield double


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmDouble:
    (tmp_path / "s").mkdir()
    double = SlurmDouble(tmp_path / "s")
    monkeypatch.setenv("PATH", double.path)
    monkeypatch.setenv("CONFIGPROXY_AUTH_TOKEN", "the hub's own secret")
    monkeypatch.setattr(HpcsecSlurmSpawner, "_listings", {})
    return double


@pytest.fixture
def make(db: Any, tmp_path: Path) -> Make:
    def factory(cls: type = OwnSlurmSpawner, **settings: Any) -> Any:
        user = User(db.query(orm.User).one(), {})
        if "" not in user.orm_spawners:
            user._new_orm_spawner("")
        values = {
            "admin_socket": str(tmp_path / "g" / "admin.sock"),
            "startup_poll_interval": 0.05,
            "stop_grace": 5,
            "gateway_timeout": 5,
            "http_timeout": 5,
            "exec_prefix": "",
            **settings,
        }
        values = {name: value for name, value in values.items() if value is not None}
        spawner = user._new_spawner("", spawner_class=cls, hub=Hub(), config=Config({cls.__name__: values}))
        if spawner.server is None:
            server = orm.Server(base_url="/user/alice/")
            db.add(server)
            db.commit()
            spawner.server = Server(orm_server=server)
        spawner.api_token = user.new_api_token(scopes=[])
        return spawner

    return factory


async def until(condition: Callable[[], Any]) -> Any:
    """Wait for something to come true; the test's own time limit ends it otherwise."""
    while not (value := condition()):
        await asyncio.sleep(0.01)
    return value


async def ready(spawner: Any, gateway: GatewayDouble) -> str:
    """Start a spawner and be the job that it waits for."""
    start = asyncio.ensure_future(spawner.start())
    await until(lambda: start.done() or any(s["job_id"] for s in gateway.sessions_by_id.values()))
    if not start.done():
        gateway.step("enrolled", session=spawner.session)
        gateway.serve(spawner.session)
        gateway.step("ready", session=spawner.session)
    return str(await start)


async def fails(spawner: Any) -> SpawnFailed:
    with pytest.raises(SpawnFailed) as failed:
        await spawner.start()
    return failed.value


def nothing_left(spawner: Any, gateway: GatewayDouble, slurm: SlurmDouble) -> None:
    assert all(session["state"] == "ended" for session in gateway.sessions_by_id.values())
    assert not [path for path in slurm.directory.glob("*.state") if not path.read_text().startswith(("CANC", "FAIL"))]
    assert (spawner.session, spawner.socket, spawner.job_id) == ("", "", "")
    assert "hpcsec" not in spawner.get_state()


# What users send


def plain_batchspawner_renders(options: dict[str, Any]) -> str:
    template = batchspawner.SlurmSpawner.batch_script.default_value
    names = ("homedir", "keepvars", "partition", "runtime", "memory", "gres", "nprocs", "reservation", "options")
    values = dict.fromkeys((*names, "prologue", "cmd", "epilogue", "srun"), "")
    values.update(options)  # as batchspawner.BatchSpawnerBase.submit_batch_script does with self.user_options
    return str(batchspawner.format_template(template, **values))


@pytest.mark.parametrize(("key", "value"), [("cmd", "evil"), ("prologue", "evil"), ("partition", "x\n#SBATCH --uid=0")])
def test_options_reach_plain_batchspawners_script(key: str, value: str) -> None:
    assert value in plain_batchspawner_renders({key: value})


@pytest.mark.parametrize("key", EVIL)
@pytest.mark.parametrize("profiles", [[], [PROFILE]])
async def test_and_here_they_are_refused_before_anything_happens(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble, key: str, profiles: list[Any]
) -> None:
    spawner = make(profiles=profiles)
    spawner.user_options = {key: EVIL[key]}
    error = await fails(spawner)
    assert error.status_code == 400 and error.reason.startswith("options.")
    with pytest.raises(SpawnFailed):
        await spawner._run_apply_user_options(spawner.user_options)
    assert gateway.calls == [] and slurm.read("7.script") == ""


@pytest.mark.parametrize("reason", ["The access policy can't be used.", "No rule allows alice anything here."])
async def test_what_the_policy_refuses_reaches_the_page_and_no_job_is_submitted(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble, reason: str
) -> None:
    gateway.refusal = Refused("access.no-rule", reason)
    spawner = make(profiles=[{**PROFILE, "account": "p1"}])
    error = await fails(spawner)
    assert error.jupyterhub_message == reason and error.reason == "access.no-rule" and error.status_code == 400
    assert slurm.read("7.script") == ""
    nothing_left(spawner, gateway, slurm)
    gateway.refusal = None
    spawner = make(profiles=[{**PROFILE, "account": "p1"}])
    await ready(spawner, gateway)
    assert gateway.only["project"] == "p1"


async def test_groups_are_the_hubs_and_the_hosts(make: Make, gateway: GatewayDouble, db: Any) -> None:
    group = orm.Group(name="genomics")
    db.add(group)
    group.users.append(db.query(orm.User).one())
    db.commit()
    assert "genomics" in make()._hub_groups()


async def test_an_administrators_apply_user_options_can_set_no_attribute(make: Make) -> None:
    spawner = make(profiles=[PROFILE], apply_user_options={"cpus": "batch_script"})
    await spawner._run_apply_user_options({"cpus": 4})
    assert "7 * 7" not in spawner.batch_script and spawner.batch_script != "4"


async def test_batchspawners_own_ways_are_closed(make: Make) -> None:
    spawner = make()
    with pytest.raises(Refused):
        await spawner.submit_batch_script()
    with pytest.raises(Refused):
        await spawner.run_command("id")


# A start


async def test_a_start_from_click_to_ready(make: Make, gateway: GatewayDouble, slurm: SlurmDouble) -> None:
    spawner = make(profiles=[PROFILE], req_account="project", req_partition="other")
    spawner.user_options = {"profile": "small", "cpus": 4}
    url = await ready(spawner, gateway)

    session = gateway.only
    assert gateway.calls == ["register", "bind_job"]
    assert (session["user"], session["server"], session["job_id"]) == ("alice", "", "7")
    account = accounts.own()
    assert (session["home"], session["project"]) == (str(account.home), "project")
    assert session["groups"] == sorted(accounts.group_names(account.groups))
    assert session["uid"] == os.geteuid()
    assert session["lifetime_s"] == 3600 + 120 * 60 + 300
    script = slurm.read("7.script")
    for line in (
        "--partition=main",
        "--account=project",
        "--cpus-per-task=4",
        "--mem=8G",
        "--time=2:00:00",
        "--no-requeue",
    ):
        assert f"#SBATCH {line}" in script.splitlines()
    assert url.endswith(".sock") and spawner.server.url == f"{url}/user/alice/"
    assert await spawner.poll() is None


async def test_secrets_travel_apart(make: Make, gateway: GatewayDouble, slurm: SlurmDouble) -> None:
    spawner = make()
    await ready(spawner, gateway)
    environment = dict(line.split("=", 1) for line in slurm.read("7.env").splitlines() if "=" in line)
    token = gateway.only["token"]
    # 1. The job's token is in the environment of sbatch, and in nothing else of the job.
    assert environment["HPCSEC_TOKEN"] == token
    assert environment["HPCSEC_GATEWAY"] == "gateway.example:8443"
    assert token not in slurm.read("7.script") and token not in slurm.read("7.args")
    # 2. The hub's secrets and the server's API token are nowhere near the batch system.
    everything = slurm.read("7.env") + slurm.read("7.script") + slurm.read("7.args")
    assert spawner.api_token not in everything and "hub's own secret" not in everything
    assert not [name for name in environment if name.startswith(("JUPYTERHUB", "JPY", "CONFIGPROXY"))]
    # 3. What the job's environment is made of is what the script exports.
    exported = next(line for line in slurm.read("7.script").splitlines() if "--export=" in line).partition("=")[2]
    assert set(exported.split(",")) == set(environment) - {"_", "PWD", "OLDPWD", "SHLVL"}
    # 4. The API token goes through the gateway.
    assert gateway.only["launch"]["env"]["JUPYTERHUB_API_TOKEN"] == spawner.api_token
    assert gateway.only["launch"]["base_url"] == "/user/alice/"
    # 5. Nothing of it is in the state that the database keeps.
    assert token not in str(spawner.get_state()) and spawner.api_token not in str(spawner.get_state())


async def test_a_template_that_would_print_the_token_is_refused(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble
) -> None:
    class Leaky(OwnSlurmSpawner):
        async def _get_batch_script(self, **subvars: Any) -> str:
            return f"#!/bin/sh\nexport HPCSEC_TOKEN={gateway.only['token']}\n"

    spawner = make(Leaky)
    assert (await fails(spawner)).reason == "spawn.secret-in-script"
    assert slurm.read("7.script") == ""
    nothing_left(spawner, gateway, slurm)


async def test_the_page_tells_what_happens(make: Make, gateway: GatewayDouble, slurm: SlurmDouble) -> None:
    slurm.write("queue", "3\n5\n7")
    spawner = make()
    events: list[dict[str, Any]] = []

    async def page() -> None:
        async for event in spawner.progress():
            events.append(event)

    reader = asyncio.ensure_future(page())
    start = asyncio.ensure_future(spawner.start())
    await until(lambda: any("2 jobs are ahead" in event["message"] for event in events))
    slurm.job("7", "RUNNING|None|N/A|node1")
    await until(lambda: any("runs on node1" in event["message"] for event in events))
    gateway.step("enrolled")
    gateway.step("starting", "Starting <script>alert(1)</script>")
    gateway.serve()
    gateway.step("ready")
    await start
    await reader
    assert [event["progress"] for event in events] == sorted(event["progress"] for event in events)
    assert all(set(event) == {"message", "progress"} for event in events)  # text; never HTML


@pytest.mark.parametrize(
    ("state", "reason", "said"),
    [
        ("FAILED", "NonZeroExitCode", "exit code 78"),
        ("TIMEOUT", "TimeLimit", "time limit"),
        ("CANCELLED", "None", "cancelled"),
        ("NODE_FAIL", "NodeDown", "node on which your job ran failed"),
        ("OUT_OF_MEMORY", "OutOfMemory", "more memory"),
        ("COMPLETED", "None", "before the notebook server was ready"),
    ],
)
async def test_how_a_job_ended_reaches_the_user(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble, *, state: str, reason: str, said: str
) -> None:
    slurm.write("first", f"{state}|{reason}|N/A|node1")
    slurm.write(
        "7.detail", f"JobId=7 JobName=jupyter JobState={state} Reason={reason} Dependency=(null) ExitCode=78:0 X=1"
    )
    spawner = make()
    assert said in (await fails(spawner)).jupyterhub_message
    assert gateway.only["state"] == "ended" and spawner.session == ""


async def test_a_rejected_job_leaves_nothing(make: Make, gateway: GatewayDouble, slurm: SlurmDouble) -> None:
    slurm.write("reject", "sbatch: error: invalid partition specified: <b>x</b>")
    spawner = make()
    error = await fails(spawner)
    assert "invalid partition" in error.jupyterhub_message and error.status_code == 400
    nothing_left(spawner, gateway, slurm)


async def test_a_refused_binding_leaves_nothing(make: Make, gateway: GatewayDouble, slurm: SlurmDouble) -> None:
    gateway.refuse_bind = True
    spawner = make()
    assert (await fails(spawner)).reason == "session.bound"
    assert slurm.read("cancelled").split() == ["7"]
    nothing_left(spawner, gateway, slurm)


async def test_an_answer_that_names_no_job_leaves_nothing(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble
) -> None:
    (slurm.bin / "sbatch").write_text("#!/bin/sh\necho hello\n")
    spawner = make()
    assert "names no job" in (await fails(spawner)).jupyterhub_message
    nothing_left(spawner, gateway, slurm)


async def test_a_start_without_a_gateway_says_so_in_time(make: Make, slurm: SlurmDouble) -> None:
    spawner = make(gateway_timeout=1)
    error = await fails(spawner)
    assert error.status_code == 503 and "admin.sock" in error.jupyterhub_message
    assert slurm.read("7.script") == ""


async def test_jupyterhubs_time_limit_leaves_nothing(make: Make, gateway: GatewayDouble, slurm: SlurmDouble) -> None:
    spawner = make()
    start = asyncio.ensure_future(spawner.start())
    await until(lambda: gateway.sessions_by_id and gateway.only["job_id"])
    assert await spawner.poll() is None
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    nothing_left(spawner, gateway, slurm)


async def test_a_start_that_takes_too_long_says_so_and_what_it_waited_for(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble
) -> None:
    failure = await fails(spawner := make(start_timeout=2))
    assert failure.reason == "start-timeout"
    assert "not ready within 2 seconds" in failure.jupyterhub_message
    assert "Your job is queued" in failure.jupyterhub_message
    nothing_left(spawner, gateway, slurm)


async def test_a_start_cancelled_inside_sbatch_leaves_nothing(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble
) -> None:
    slurm.write("slow")
    spawner = make()
    start = asyncio.ensure_future(spawner.start())
    await until((slurm.directory / "taken").exists)
    start.cancel()
    await asyncio.sleep(0)
    slurm.remove("slow")
    with pytest.raises(asyncio.CancelledError):
        await start
    assert slurm.read("cancelled").split() == ["7"]
    nothing_left(spawner, gateway, slurm)


async def test_a_server_that_never_answers_leaves_nothing(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble
) -> None:
    spawner = make(http_timeout=1)
    start = asyncio.ensure_future(spawner.start())
    await until(lambda: gateway.sessions_by_id and gateway.only["job_id"])
    gateway.step("ready")
    with pytest.raises(SpawnFailed, match="did not answer"):
        await start
    nothing_left(spawner, gateway, slurm)


async def test_a_hub_with_the_callback_mounted_starts_nothing(make: Make, gateway: GatewayDouble) -> None:
    spawner = make()
    spawner.user.settings["app"] = SimpleNamespace(handlers=[("/hub/api/batchspawner", object)])
    assert (await fails(spawner)).reason == "spawn.callback-mounted"
    assert gateway.calls == []


async def test_internal_ssl_is_refused(make: Make, gateway: GatewayDouble) -> None:
    spawner = make()
    spawner.internal_ssl = True
    assert "internal_ssl" in (await fails(spawner)).jupyterhub_message
    assert gateway.calls == []


# An end


async def test_stop_revokes_first_and_ends_the_job_gently(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble
) -> None:
    spawner = make()
    await ready(spawner, gateway)
    slurm.job("7", "RUNNING|None|N/A|node1")
    await spawner.stop()
    assert gateway.only["state"] == "ended"
    assert slurm.read("cancelled").splitlines() == ["--full --signal=TERM 7 "]
    assert await spawner.poll() == 1


async def test_a_stubborn_job_is_ended_hard(make: Make, gateway: GatewayDouble, slurm: SlurmDouble) -> None:
    spawner = make(stop_grace=1)
    await ready(spawner, gateway)
    slurm.job("7", "RUNNING|None|N/A|node1")
    slurm.write("stubborn")
    await spawner.stop()
    assert slurm.read("cancelled").splitlines() == ["--full --signal=TERM 7 ", "7 "]


async def test_stop_now_and_a_queued_job_end_hard_at_once(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble
) -> None:
    spawner = make()
    await ready(spawner, gateway)
    await spawner.stop()
    slurm.job("7", "RUNNING|None|N/A|node1")
    await spawner.stop(now=True)
    assert slurm.read("cancelled").splitlines() == ["7 ", "7 "]


async def test_stop_without_a_gateway_still_ends_the_job(make: Make, slurm: SlurmDouble, tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    async with running(tmp_path / "g") as gateway:
        spawner = make(gateway_timeout=1)
        await ready(spawner, gateway)
    await spawner.stop()
    assert slurm.read("cancelled").splitlines() == ["7 "]


async def test_poll_of_a_job_that_ended_revokes_its_session(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble
) -> None:
    spawner = make()
    await ready(spawner, gateway)
    slurm.write("down", "slurm_load_jobs error: Unable to contact slurm controller")
    assert await spawner.poll() is None  # no answer is no end
    slurm.remove("down")
    slurm.job("7", "FAILED|NonZeroExitCode|N/A|node1")
    assert await spawner.poll() == 1
    nothing_left(spawner, gateway, slurm)
    assert await spawner.poll() == 1


async def test_poll_of_a_session_that_was_ended_cancels_its_job(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble
) -> None:
    spawner = make()
    await ready(spawner, gateway)
    slurm.job("7", "RUNNING|None|N/A|node1")
    gateway.step("ended", "by an administrator")
    assert await spawner.poll() == 1
    assert slurm.read("cancelled").splitlines() == ["--batch --signal=KILL 7 ", "7 "]
    nothing_left(spawner, gateway, slurm)
    assert spawner.ended.sentence == "Your session was ended by this site's staff: by an administrator"
    assert make().ended is None
    again = make()
    again.load_state(spawner.get_state())  # as JupyterHub keeps it of a server that is gone
    assert again.ended == spawner.ended


async def test_a_job_that_ignores_the_end_of_its_session_is_cancelled_at_once(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble
) -> None:
    spawner = make()
    stopped: list[str] = []
    await ready(spawner, gateway)
    slurm.job("7", "RUNNING|None|N/A|node1")
    slurm.write("stubborn")
    spawner.poll_interval = 3600  # JupyterHub itself would not look within this test
    spawner.add_poll_callback(stopped.append, "stopped")
    spawner.start_polling()
    gateway.step("ended", "a <b>leak</b>")
    await until(lambda: stopped)
    assert slurm.read("cancelled").splitlines() == ["--batch --signal=KILL 7 ", "7 "]
    nothing_left(spawner, gateway, slurm)
    assert spawner.ended.sentence == "Your session was ended by this site's staff: a <b>leak</b>"


async def test_a_server_that_its_user_stops_is_asked_gently_and_no_reason_stays(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble
) -> None:
    spawner = make()
    await ready(spawner, gateway)
    slurm.job("7", "RUNNING|None|N/A|node1")
    spawner.start_polling()
    spawner.stop_polling()  # JupyterHub does so first
    await spawner.stop()
    assert slurm.read("cancelled").splitlines() == ["--full --signal=TERM 7 "]
    assert spawner.ended is None


# A hub restart


async def test_state_survives_and_the_route_with_it(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble, db: Any
) -> None:
    spawner = make()
    url = await ready(spawner, gateway)
    # what JupyterHub's User.spawn does with the URL: the database keeps scheme, host and port alone
    spawner.server.ip, spawner.server.port = "%2frun%2fx", 80
    state = spawner.get_state()
    db.commit()
    later = make()
    later.load_state(state)
    assert later.server.url == f"{url}/user/alice/" and later.server.host == url
    later._check_pending = True
    slurm.job("7", "RUNNING|None|N/A|node1")
    assert await later.poll() is None


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"job_id": "7"},
        {"hpcsec": {}},
        {"job_id": "7;id", "hpcsec": {"session": "../x"}},
        {"job_id": 7, "hpcsec": {"session": 3}},
    ],
)
async def test_a_state_that_is_not_ours_is_no_session(make: Make, slurm: SlurmDouble, state: dict[str, Any]) -> None:
    spawner = make()
    spawner.load_state(state)
    assert await spawner.poll() == 1 and spawner.session == ""


async def restarted(make: Make, gateway: GatewayDouble, slurm: SlurmDouble, **settings: Any) -> Any:
    """A spawner as a restarted hub has it, of a server that ran."""
    spawner = make(**settings)
    await ready(spawner, gateway)
    slurm.job("7", "RUNNING|None|N/A|node1")
    later = make(**settings)
    later.load_state(spawner.get_state())
    later.api_token = ""
    later._check_pending = True
    return later


async def test_a_ready_server_is_waited_for_while_its_job_lives(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble
) -> None:
    later = await restarted(make, gateway, slurm, recovery_timeout=1)
    gateway.step("away")
    poll = asyncio.ensure_future(later.poll())
    await asyncio.sleep(2.5)
    assert not poll.done()
    gateway.step("ready")
    assert await poll is None and slurm.read("cancelled") == ""


async def test_a_gateway_that_the_hub_has_not_started_yet_is_waited_for(
    make: Make, slurm: SlurmDouble, tmp_path: Path
) -> None:
    (tmp_path / "g").mkdir()
    async with running(tmp_path / "g") as gateway:
        later = await restarted(make, gateway, slurm)
        sessions = gateway.sessions_by_id
    poll = asyncio.ensure_future(later.poll())
    await asyncio.sleep(1.5)
    assert not poll.done()
    async with running(tmp_path / "g") as gateway:
        gateway.sessions_by_id = sessions
        assert await poll is None


async def test_a_server_that_was_starting_is_cancelled_when_it_does_not_come(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble
) -> None:
    spawner = make()
    start = asyncio.ensure_future(spawner.start())
    await until(lambda: gateway.sessions_by_id and gateway.only["job_id"])
    # the hub dies here; the database has the state already
    state = dict(spawner.orm_spawner.state)
    assert state["job_id"] == "7" and state["hpcsec"]["session"] == spawner.session
    later = make(recovery_timeout=1)
    later.load_state(state)
    later._check_pending = True
    assert await later.poll() == 1
    # the start of the hub that "died" still runs here, and may have cancelled the job as well by now
    assert set(slurm.read("cancelled").split()) == {"7"} and gateway.only["state"] == "ended"
    with pytest.raises(SpawnFailed):
        await start


async def test_the_api_token_is_revoked_also_after_a_restart(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble, db: Any
) -> None:
    spawner = make()
    token = spawner.api_token
    await ready(spawner, gateway)
    later = make()
    later.load_state(spawner.get_state())
    later.api_token = ""
    assert orm.APIToken.find(db, token) is not None
    await later.stop()
    assert orm.APIToken.find(db, token) is None


# Settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"profiles": [{"name": "X"}]}, "lower-case"),
        ({"batch_env_keep": ["CONFIGPROXY_AUTH_TOKEN"]}, "batch_env_keep"),
        ({"job_log_directory": "/tmp"}, "below the user's home"),
        ({"job_log_directory": "../x"}, "below the user's home"),
    ],
)
def test_settings_that_are_wrong_name_their_fix(make: Make, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(TraitError, match=said):
        make(**settings)


@pytest.mark.parametrize("cls", [HpcsecSlurmSpawner, HpcsecPBSSpawner, HpcsecLsfSpawner, HpcsecLocalSpawner])
def test_classes_are_complete(cls: Any) -> None:
    assert issubclass(cls, HpcsecSpawnerMixin) and issubclass(cls, batchspawner.BatchSpawnerBase)
    for name in ("batch_script", "batch_submit_cmd", "batch_query_cmd", "batch_cancel_cmd"):
        assert cls.class_traits()[name].default_value
    for method in ("submit_batch_script", "run_command", "start", "stop", "poll", "progress", "query_job_status"):
        assert getattr(cls, method) is not getattr(batchspawner.BatchSpawnerBase, method)


class OwnCondorSpawner(HpcsecSpawnerMixin, batchspawner.CondorSpawner):  # type: ignore[misc]
    """Any batchspawner class by the mixin."""

    def account(self) -> accounts.Account:
        return accounts.own()


def test_any_other_batchspawner_class_works_by_its_own_words(make: Make) -> None:
    spawner = make(OwnCondorSpawner)
    assert spawner.parse_view("1, ").phase == "queued"
    assert (spawner.parse_view("2, slot1@node7 ").phase, spawner.parse_view("2, slot1@node7 ").node) == (
        "running",
        "node7",
    )
    assert spawner.parse_view("").phase == "gone"


def test_the_hub_runs_user_commands_by_sudo_unless_it_is_root(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 998)
    assert make(HpcsecSlurmSpawner, exec_prefix=None).exec_prefix == "sudo --non-interactive --user={username} --"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert make(HpcsecSlurmSpawner, exec_prefix=None).exec_prefix == ""


async def test_the_gpu_watch_s_settings_go_with_the_launch_and_are_checked_when_set(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble
) -> None:
    with pytest.raises(TraitError, match="R5"):
        make(gpu_watch={"actions": {"R5": "end session"}})
    spawner = make(gpu_watch={"idle": {"end": 480}})
    await ready(spawner, gateway)
    given = gpu_launch.parse(spawner.launch()["env"][gpu_launch.VARIABLE])
    assert given.limits().end == 480 and given.stand_in == ""


# Projects


def offered(name: str = "genomics", **changes: Any) -> dict[str, Any]:
    terms = {"title": "Genomes", "purpose": "p", "owner": "olga", "account": "", **changes.pop("terms", {})}
    facts = {"state": "open", "review_on": "2027-06-30", "warning": "", "why_not": "", **changes}
    return {"id": name, "terms": terms, **facts}


@pytest.mark.parametrize("name", ["../x", "a;id", "<b>", "A", "x\n#SBATCH -x", 7, ["genomics"], None])
async def test_a_forged_project_reaches_neither_gateway_nor_batch_system(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble, name: Any
) -> None:
    gateway.offer = {"mode": "required", "office": "o", "projects": [offered()]}
    spawner = make(profiles=[PROFILE])
    spawner.user_options = {"project": name}
    assert (await fails(spawner)).reason == "options.project"
    with pytest.raises(SpawnFailed):
        await spawner._run_apply_user_options({"project": name})
    assert gateway.calls == []
    assert slurm.read("7.script") == ""


async def test_a_project_that_is_not_offered_is_the_gateways_to_refuse(make: Make, gateway: GatewayDouble) -> None:
    gateway.offer = {"mode": "required", "office": "o", "projects": [offered()]}
    gateway.refusal = Refused("project.not-a-member", "You are no member of it.")
    spawner = make()
    spawner.user_options = {"project": "other"}
    assert (await fails(spawner)).reason == "project.not-a-member"


async def test_without_a_registry_no_project_can_be_chosen(make: Make, gateway: GatewayDouble) -> None:
    spawner = make()
    spawner.user_options = {"project": "genomics"}
    assert (await fails(spawner)).reason == "options.project"


@pytest.mark.parametrize("asked", [{}, {"project": "genomics"}])
async def test_the_projects_account_is_the_jobs(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble, asked: dict[str, str]
) -> None:
    late = offered("late", state="expired", why_not="It was to be reviewed.")
    gateway.offer = {"mode": "required", "office": "o", "projects": [offered(terms={"account": "g1"}), late]}
    spawner = make(profiles=[{**PROFILE, "account": "p1"}])
    spawner.user_options = asked
    await ready(spawner, gateway)
    assert gateway.only["project"] == "genomics"
    assert "#SBATCH --account=g1" in slurm.read("7.script").splitlines()


async def test_where_projects_are_optional_none_is_chosen_for_anybody(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble
) -> None:
    gateway.offer = {"mode": "optional", "office": "o", "projects": [offered()]}
    spawner = make(profiles=[{**PROFILE, "account": "p1"}])
    await ready(spawner, gateway)
    assert gateway.only["project"] == ""
    assert "#SBATCH --account=p1" in slurm.read("7.script").splitlines()


@pytest.mark.parametrize("broken", [{"mode": 7}, {}, {"mode": "off", "office": "", "projects": [offered("../x")]}])
async def test_an_answer_that_is_none(make: Make, gateway: GatewayDouble, broken: dict[str, Any]) -> None:
    gateway.offer = broken
    assert "can't be read" in (await fails(make())).jupyterhub_message
    assert gateway.calls == []


# The spawn page


async def test_the_page_has_projects_and_estimates(make: Make, gateway: GatewayDouble, slurm: SlurmDouble) -> None:
    told = {"access": "Only <your> rules.", "recording": "Code is recorded."}
    gateway.offer = {"mode": "required", "office": "o", "projects": [offered()], "told": told}
    slurm.write("foreseen", "sbatch: Job 9 to start at 2020-01-01T00:00:00 using 2 processors on nodes n1")
    spawner = make(profiles=[{**PROFILE, "account": "p1"}], estimate_wait=30)
    page = await spawner.get_options_form()
    assert "Would start: at once" in page and 'value="genomics"' in page and "Only &lt;your&gt; rules." in page
    assert "#SBATCH --cpus-per-task=2" in slurm.read("tested") and "HPCSEC_TOKEN" not in slurm.read("tested")
    assert slurm.read("7.script") == "" and gateway.calls == []


async def test_the_page_comes_without_gateway_and_without_scheduler(
    make: Make, gateway: GatewayDouble, slurm: SlurmDouble
) -> None:
    gateway.offer = {"mode": 7}
    slurm.write("stuck")
    spawner = make(profiles=[PROFILE], estimate_wait=0.1)
    page = await spawner.get_options_form()
    slurm.remove("stuck")
    assert "can&#39;t be shown" in page or "can't be shown now" in page
    assert "unknown: the scheduler did not say" in page and 'value="small"' in page


async def test_without_choices_there_is_no_page(make: Make, gateway: GatewayDouble) -> None:
    assert await make().get_options_form() == ""
    gateway.offer = {"mode": "required", "office": "o", "projects": [offered()]}
    assert await make().get_options_form() == ""
    gateway.offer["projects"] = []
    assert "every session here belongs to a project" in await make().get_options_form()
