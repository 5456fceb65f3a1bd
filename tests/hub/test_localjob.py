"""The local batch system through its command: jobs end with all that they started, and records tell the truth."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.hub.localjob_records import KEEP_S, LOST, Record, Records, State
from jupyter_hpcsec.hub.processes import read_process

COMMAND = [sys.executable, "-I", "-m", "jupyter_hpcsec.hub.localjob"]
ESCAPE = """
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
open(sys.argv[1], "w").write(str(os.getpid()))
os.rename(sys.argv[1], sys.argv[1] + ".done")
time.sleep(600)
"""


class Batch:
    """The command line, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.environment = {**os.environ, "HPCSEC_LOCALJOB_DIR": str(directory)}
        self.records = Records(directory)
        self.ids: list[str] = []

    def run(self, *words: str, script: str = "", **env: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*COMMAND, *words], input=script, env={**self.environment, **env},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def submit(self, script: str, **env: str) -> str:
        done = self.run("submit", script=script, **env)
        assert done.returncode == 0, done.stderr
        self.ids.append(done.stdout.strip())
        return self.ids[-1]

    def state(self, job_id: str) -> str:
        return self.run("state", job_id).stdout.strip()

    def facts(self, job_id: str) -> Mapping[str, Any]:
        return dict(json.loads(self.run("state", "--json", job_id).stdout))

    def ended(self, job_id: str) -> str:
        until(lambda: not self.state(job_id).startswith("RUNNING"))
        return self.state(job_id)


@pytest.fixture
def batch(tmp_path: Path) -> Iterator[Batch]:
    made = Batch(tmp_path / "jobs")
    yield made
    for job_id in made.ids:
        for _ in range(2):
            made.run("cancel", job_id)


def until(condition: Any, limit_s: float = 60) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def escaped(path: Path) -> int:
    done = path.with_name(path.name + ".done")
    until(done.exists)
    return int(done.read_text())


def is_alive(pid: int) -> bool:
    process = read_process(pid)
    return process is not None and not process.is_zombie


@pytest.mark.parametrize("script", ["", "echo hi", "#!" + "x" * 300_000])
def test_what_is_no_script_is_refused(batch: Batch, script: str) -> None:
    done = batch.run("submit", script=script)
    assert (done.returncode, done.stdout) == (1, "")
    assert "begins with '#!'" in done.stderr


def test_a_script_that_can_not_start_is_refused_and_leaves_nothing(batch: Batch) -> None:
    done = batch.run("submit", script="#!/no/such/shell\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert "did not start" in done.stderr
    assert list(batch.records.directory.iterdir()) == []


@pytest.mark.parametrize("job_id", ["0", "../x", "0123456789AB", "0123456789abc", "-1"])
def test_what_is_no_id_is_refused(batch: Batch, job_id: str) -> None:
    for command in ("state", "cancel"):
        done = batch.run(command, "--", job_id)
        assert (done.returncode, done.stdout) == (1, "")
        assert "Invalid job id" in done.stderr


def test_an_unknown_job_is_said_as_slurm_says_it(batch: Batch) -> None:
    done = batch.run("state", "0123456789ab")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Invalid job id specified" in done.stderr


def test_jobs_end_as_their_scripts_do(batch: Batch) -> None:
    good, bad = batch.submit("#!/bin/sh\necho out; echo err >&2\n"), batch.submit("#!/bin/sh\nexit 3\n")
    killed = batch.submit("#!/bin/sh\nkill -9 $$\n")
    assert batch.ended(good) == "COMPLETED 0"
    assert batch.ended(bad) == "FAILED 3"
    assert batch.ended(killed) == "FAILED 137"
    assert Path(batch.facts(good)["output"]).read_text() == "out\nerr\n"


def test_a_job_has_its_id_its_environment_and_private_files(batch: Batch, tmp_path: Path) -> None:
    job_id = batch.submit("#!/bin/sh\nenv; pwd\n", HPCSEC_TOKEN="a.b.c", HOME=str(tmp_path))
    batch.ended(job_id)
    output = batch.records.output(job_id).read_text().splitlines()
    assert f"HPCSEC_LOCAL_JOB_ID={job_id}" in output
    assert "HPCSEC_TOKEN=a.b.c" in output
    assert output[-1] == str(tmp_path)
    for path in (batch.records.directory, batch.records.directory / job_id):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_record_directory_of_others_is_refused(batch: Batch) -> None:
    batch.records.directory.mkdir(mode=0o755)
    batch.records.directory.chmod(0o755)
    done = batch.run("submit", script="#!/bin/sh\n")
    assert done.returncode == 1
    assert "mode 0755" in done.stderr


@pytest.mark.parametrize("end", ["exit", "cancel"])
def test_what_forked_twice_and_opened_a_session_ends_with_the_job(batch: Batch, tmp_path: Path, end: str) -> None:
    wait = {"exit": f"while ! [ -e {tmp_path}/pid.done ]; do sleep 0.02; done", "cancel": "exec sleep 600"}[end]
    job_id = batch.submit(f"#!/bin/sh\n'{sys.executable}' -c '{ESCAPE}' {tmp_path}/pid\n{wait}\n")
    pid = escaped(tmp_path / "pid")
    if end == "cancel":
        assert batch.state(job_id).startswith("RUNNING ")
        assert is_alive(pid)
        assert batch.run("cancel", job_id).returncode == 0
    assert batch.ended(job_id) == {"exit": "COMPLETED 0", "cancel": "CANCELLED"}[end]
    assert not is_alive(pid)


def test_a_script_that_does_not_heed_sigterm_is_ended_by_the_second_cancel(batch: Batch, tmp_path: Path) -> None:
    trap = f"trap 'echo > {tmp_path}/asked' TERM; echo > {tmp_path}/up"
    job_id = batch.submit(f"#!/bin/sh\n{trap}\nwhile :; do sleep 0.05; done\n")
    until((tmp_path / "up").exists)
    batch.run("cancel", job_id)
    until((tmp_path / "asked").exists)
    assert batch.state(job_id).startswith("RUNNING")
    batch.run("cancel", job_id)
    assert batch.ended(job_id) == "CANCELLED"


def test_cancelling_a_job_that_has_ended_changes_nothing(batch: Batch) -> None:
    job_id = batch.submit("#!/bin/sh\nexit 0\n")
    assert batch.ended(job_id) == "COMPLETED 0"
    assert batch.run("cancel", job_id).returncode == 0
    assert batch.state(job_id) == "COMPLETED 0"


def test_a_job_outlives_whoever_submitted_it(batch: Batch) -> None:
    """The hub's death: the submitting process is killed with its whole session."""
    program = (
        "import subprocess,sys,time; p=subprocess.run(sys.argv[1:],input='#!/bin/sh\\nexec sleep 600\\n',"
        "capture_output=True,text=True); print(p.stdout,end='',flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, *COMMAND, "submit"],
        env=batch.environment, stdout=subprocess.PIPE, text=True, start_new_session=True,
    ) as hub:  # fmt: skip
        assert hub.stdout is not None
        job_id = hub.stdout.readline().strip()
        batch.ids.append(job_id)
        os.killpg(hub.pid, signal.SIGKILL)
    assert batch.state(job_id).startswith("RUNNING")
    assert is_alive(batch.facts(job_id)["pid"])


def test_when_the_supervisor_is_killed_the_job_has_failed_and_its_script_is_gone(batch: Batch) -> None:
    job_id = batch.submit("#!/bin/sh\nexec sleep 600\n")
    facts = batch.facts(job_id)
    os.kill(facts["supervisor"], signal.SIGKILL)
    assert batch.ended(job_id) == f"FAILED {LOST}"
    until(lambda: not is_alive(facts["pid"]))


def test_a_pid_that_now_belongs_to_another_process_is_not_signalled(batch: Batch) -> None:
    batch.records.directory.mkdir(mode=0o700)
    bystander = subprocess.Popen(["/bin/sleep", "600"])
    try:
        job_id = batch.records.create(b"#!/bin/sh\n")
        started = read_process(bystander.pid)
        assert started is not None
        stale = Record(job_id, State.RUNNING, "vm", 0, pid=1, supervisor=bystander.pid, started=started.started - 1)
        batch.records.put(stale)
        assert batch.records.get(job_id).state is State.FAILED
        batch.records.cancel(job_id)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_old_records_are_forgotten_running_ones_are_not(batch: Batch) -> None:
    old, live = batch.submit("#!/bin/sh\n"), batch.submit("#!/bin/sh\nexec sleep 600\n")
    batch.ended(old)
    batch.records.forget_old(time.time())
    assert batch.records.get(old).state is State.COMPLETED
    batch.records.forget_old(time.time() + KEEP_S + 60)
    with pytest.raises(Unavailable):
        batch.records.get(old)
    assert batch.records.get(live).state is State.RUNNING


def test_without_a_setting_the_place_depends_on_the_user_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = []
    monkeypatch.setattr(
        "jupyter_hpcsec.hub.localjob_records.private_directory", lambda path, *, rule: made.append((path, rule))
    )
    Records.open({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert made == [(Path(f"/tmp/hpcsec-jobs-{os.geteuid()}"), "localjob")]
    monkeypatch.undo()
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(Refused):
        Records.open({"HPCSEC_LOCALJOB_DIR": str(tmp_path / "link")})
