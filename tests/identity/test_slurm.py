"""What scontrol prints is read strictly: a job's owner writes half of the line."""

from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.identity.jobs import check_job
from jupyter_hpcsec.identity.slurm import TEXT_LIMIT, SlurmScheduler, parse_scontrol

# As Slurm 22.05.8 prints it with --oneliner (compared with a real one).
RUNNING = (
    "JobId=17 JobName=hpcsec UserId=alice(1001) GroupId=alice(1001) MCS_label=N/A Priority=4294901759 Nice=0"
    " Account=(null) QOS=(null) JobState=RUNNING Reason=None Dependency=(null) Requeue=0 Restarts=0 BatchFlag=1"
    " Reboot=0 ExitCode=0:0 RunTime=00:00:07 TimeLimit=01:00:00 TimeMin=N/A SubmitTime=2026-11-21T05:40:10"
    " EligibleTime=2026-11-21T05:40:10 AccrueTime=2026-11-21T05:40:10 StartTime=2026-11-21T05:40:11"
    " EndTime=2026-11-21T06:40:11 Deadline=N/A SuspendTime=None SecsPreSuspend=0 LastSchedEval=2026-11-21T05:40:11"
    " Scheduler=Main Partition=main AllocNode:Sid=head:4711 ReqNodeList=(null) ExcNodeList=(null) NodeList=node1"
    " BatchHost=node1 NumNodes=1 NumCPUs=1 NumTasks=1 CPUs/Task=1 ReqB:S:C:T=0:0:*:* TRES=cpu=1,node=1,billing=1"
    " Socks/Node=* NtasksPerN:B:S:C=0:0:*:* CoreSpec=* MinCPUsNode=1 MinMemoryNode=0 MinTmpDiskNode=0 Features=(null)"
    " DelayBoot=00:00:00 OverSubscribe=OK Contiguous=0 Licenses=(null) Network=(null) Command=(null)"
    " WorkDir=/home/alice StdErr=/home/alice/slurm-17.out StdIn=/dev/null StdOut=/home/alice/slurm-17.out Power= \n"
)
PENDING = (
    RUNNING.replace("JobState=RUNNING Reason=None", "JobState=PENDING Reason=Resources")
    .replace(" NodeList=node1 BatchHost=node1 ", " NodeList=(null) ")
    .replace("StartTime=2026-11-21T05:40:11 EndTime=2026-11-21T06:40:11", "StartTime=Unknown EndTime=Unknown")
)


def naive(text: str) -> dict[str, str]:
    """What a careless reader does."""
    return dict(word.split("=", 1) for word in text.split() if "=" in word)


def name(job_name: str, text: str = RUNNING) -> str:
    return text.replace("JobName=hpcsec", f"JobName={job_name}")


def malformed(text: str) -> None:
    with pytest.raises(Malformed):
        parse_scontrol(text)


FIELDS = [
    "JobId",
    "UserId",
    "JobState",
    "Restarts",
    "BatchFlag",
    "NodeList",
    "BatchHost",
    "Reason",
    "TimeLimit",
    "EndTime",
]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", ["bob(1002)", "RUNNING", "node2", "1", "0", "(null)", ""])
@pytest.mark.parametrize("place", ["JobName=hpcsec", "WorkDir=/home/alice", "Command=(null)", "Power="])
def test_a_field_in_the_owners_own_words_is_refused(field: str, value: str, place: str) -> None:
    malformed(RUNNING.replace(place, f"{place} {field}={value}"))
    malformed(RUNNING.replace(place, f"{place}\t{field}={value}"))
    malformed(RUNNING.replace(place, f"{place}/{field}={value}"))


def test_a_forged_user_passes_a_naive_reader_and_not_here() -> None:
    bobs = RUNNING.replace("alice(1001)", "bob(1002)").replace("WorkDir=/home/alice", "WorkDir=/x UserId=alice(1001)")
    assert naive(bobs)["UserId"] == "alice(1001)"
    malformed(bobs)


def test_a_forged_state_passes_a_naive_reader_and_not_here() -> None:
    forged = PENDING.replace("WorkDir=/home/alice", "WorkDir=/x JobState=RUNNING NodeList=node2 BatchHost=node2")
    assert naive(forged)["JobState"] == "RUNNING"
    malformed(forged)


def test_a_batch_host_counts_only_in_its_own_place() -> None:
    # The job has no BatchHost of its own (no script, or none yet): its name says one.
    interactive = RUNNING.replace(" BatchHost=node1", "").replace("BatchFlag=1", "BatchFlag=0")
    assert parse_scontrol(name("x BatchHost=node2", interactive)).facts.batch_host is None
    malformed(name("x BatchHost=node2", RUNNING.replace(" BatchHost=node1", "")))
    malformed(RUNNING.replace(" BatchHost=node1", ""))


@pytest.mark.parametrize("field", [field for field in FIELDS if field != "BatchHost"])
def test_every_deciding_field_is_needed(field: str) -> None:
    malformed(RUNNING.replace(f" {field}=", f" X{field}=").removeprefix("JobId=" if field == "JobId" else ""))


@pytest.mark.parametrize(
    "user",
    [
        "alice",
        "1001",
        "alice(x)",
        "alice()",
        "alice(-1)",
        "alice(+1001)",
        "alice(01001)",
        "alice(1001",
        "alice(1001)x",
        "alice(1002)(1001)",
        "(1001)",
        "a=b(1001)",
        "alice(1e3)",
        "alice(\N{FULLWIDTH DIGIT ONE})",
        "alice(12345678901)",
        "",
    ],
)
def test_a_user_id_has_one_form(user: str) -> None:
    malformed(RUNNING.replace("alice(1001) GroupId", f"{user} GroupId"))


@pytest.mark.parametrize("job_id", ["", "0", "-1", "017", "17_1", "17.batch", "x", "1" * 11])
def test_a_job_id_has_one_form(job_id: str) -> None:
    malformed(RUNNING.replace("JobId=17 ", f"JobId={job_id} "))


@pytest.mark.parametrize("state", ["", "running", "RUNNING,COMPLETING", "RUNNING+COMPLETING", "RUN\tNING"])
def test_a_state_has_one_form(state: str) -> None:
    malformed(RUNNING.replace("JobState=RUNNING", f"JobState={state}"))


@pytest.mark.parametrize("nodes", ["node1;id", "$(id)", "../x", "node1\t", "a=b", "x" * 5000])
def test_a_node_list_has_one_form(nodes: str) -> None:
    malformed(RUNNING.replace(" NodeList=node1", f" NodeList={nodes}"))


def test_an_answer_has_a_size() -> None:
    fill = TEXT_LIMIT - len(RUNNING)
    parse_scontrol(RUNNING.replace("Power=", "Power=" + "x" * fill))
    malformed(RUNNING.replace("Power=", "Power=" + "x" * (fill + 1)))


def test_several_jobs_are_none() -> None:
    malformed(RUNNING + RUNNING)
    malformed(name("a\nb"))


@pytest.mark.parametrize(
    "text", ["", "\n", "No jobs in the system\n", " " + RUNNING, "x" + RUNNING, "y" * (TEXT_LIMIT + 1)]
)
def test_what_is_no_job_is_refused(text: str) -> None:
    malformed(text)


def test_an_impossible_time_is_refused() -> None:
    malformed(RUNNING.replace("EndTime=2026-11-21", "EndTime=2026-13-41"))


def test_a_running_job_is_read() -> None:
    record = parse_scontrol(RUNNING)
    facts = record.facts
    assert (facts.job_id, facts.uid, facts.state, facts.batch_host, facts.restarts) == (
        "17",
        1001,
        "RUNNING",
        "node1",
        0,
    )
    assert (facts.reason, facts.time_limit_s, facts.end_time) == ("", 3600, 1795243211)
    assert record.node_list == "node1"


def test_a_pending_job_is_read() -> None:
    record = parse_scontrol(PENDING)
    assert (record.facts.state, record.facts.reason, record.facts.end_time) == ("PENDING", "Resources", None)
    assert (record.node_list, record.facts.batch_host) == ("", None)


def test_a_job_that_asked_for_features_of_its_first_node_is_read() -> None:
    assert parse_scontrol(RUNNING.replace("BatchHost=", "BatchFeatures=a|b BatchHost=")) == parse_scontrol(RUNNING)


@pytest.mark.parametrize("job_name", ["my job", "a=b", "UserId", "ReqUserId=x", "x(1)", "ä", "'; rm"])
def test_a_plain_name_does_no_harm(job_name: str) -> None:
    assert parse_scontrol(name(job_name)) == parse_scontrol(RUNNING)


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [("UNLIMITED", None), ("Partition_Limit", None), ("1-02:00:00", 93600), ("10-00:00:01", 864001), ("00:01:00", 60)],
)
def test_time_limits(limit: str, seconds: int | None) -> None:
    assert parse_scontrol(RUNNING.replace("TimeLimit=01:00:00", f"TimeLimit={limit}")).facts.time_limit_s == seconds


words = st.text(st.characters(codec="utf-8"), max_size=12)


@given(st.text() | st.lists(st.sampled_from([*RUNNING.split(), "\n", "UserId=", "NodeList="])).map(" ".join))
def test_nothing_but_malformed_is_raised(text: str) -> None:
    malformed(text)


@given(st.integers(0, len(RUNNING) - 1), st.integers(0, 12), words)
def test_a_broken_line_is_malformed_or_says_who_slurm_said(at: int, cut: int, put: str) -> None:
    # Whatever the owner does within one field of the line, the reader never takes the owner for somebody else.
    try:
        record = parse_scontrol(RUNNING[:at] + put + RUNNING[at + cut :])
    except Malformed:
        return
    assert record.facts.job_id


@given(words, words, words)
def test_the_owners_words_never_change_what_decides(job_name: str, work_dir: str, comment: str) -> None:
    text = name(job_name).replace("WorkDir=/home/alice", f"WorkDir={work_dir} Comment={comment}")
    try:
        record = parse_scontrol(text)
    except Malformed:
        return
    assert record == parse_scontrol(RUNNING)


# --- the command ------------------------------------------------------------------------------------------------------


def scontrol(directory: Path, script: str) -> SlurmScheduler:
    """A stand-in for scontrol that runs ``script``, with its arguments as ``$*``."""
    path = directory / "scontrol"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return SlurmScheduler(
        (str(path),),
        {"ANSWER": RUNNING, "PENDING": PENDING, "MANY": RUNNING.replace("NodeList=node1 ", "NodeList=node[1-2] ")},
    )


async def test_a_command_that_fails_is_unavailable(tmp_path: Path) -> None:
    for script in (
        "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1",
        "exit 1",
        'printf "%s" "$ANSWER"; exit 1',
        "kill -9 $$",
    ):
        with pytest.raises(Unavailable):
            await scontrol(tmp_path, script).job("17")
    with pytest.raises(Unavailable):
        await SlurmScheduler((str(tmp_path / "missing"),)).job("17")


async def test_a_command_that_says_nothing_is_malformed(tmp_path: Path) -> None:
    for script in ("exit 0", "echo 'No jobs in the system'", 'printf "\\377"'):
        with pytest.raises(Malformed):
            await scontrol(tmp_path, script).job("17")


async def test_a_command_that_hangs_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "scontrol").write_text("#!/bin/sh\nsleep 1000\n")
    (tmp_path / "scontrol").chmod(0o755)
    with pytest.raises(Unavailable):
        await SlurmScheduler((str(tmp_path / "scontrol"),), timeout_s=0.2).job("17")


@pytest.mark.parametrize(
    "job_id", ["", "0", "-h", "--help", "17 18", "17;id", "17_1", "x", "4294967296", "017", "17\n"]
)
async def test_only_a_job_id_reaches_the_command(tmp_path: Path, job_id: str) -> None:
    with pytest.raises(Refused) as caught:
        await scontrol(tmp_path, f"touch {tmp_path}/called").job(job_id)
    assert caught.value.rule == "attest.job-id"
    assert not (tmp_path / "called").exists()


async def test_an_answer_about_another_job_is_malformed(tmp_path: Path) -> None:
    with pytest.raises(Malformed):
        await scontrol(tmp_path, 'printf "%s" "$ANSWER"').job("18")


async def test_an_unknown_job_is_none(tmp_path: Path) -> None:
    slurm = scontrol(tmp_path, "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert await slurm.job("17") is None


async def test_a_job_on_one_node_takes_one_command(tmp_path: Path) -> None:
    slurm = scontrol(tmp_path, f'echo "$*" >> {tmp_path}/calls; printf "%s" "$ANSWER"')
    facts = await slurm.job("17")
    assert facts is not None
    assert facts.nodes == ("node1",)
    check_job(facts, uid=1001, job_id="17", node="node1")
    assert (tmp_path / "calls").read_text() == "--all --oneliner show job 17\n"


async def test_a_job_without_nodes_takes_one_command(tmp_path: Path) -> None:
    slurm = scontrol(tmp_path, f'echo "$*" >> {tmp_path}/calls; printf "%s" "$PENDING"')
    facts = await slurm.job("17")
    assert facts is not None
    assert (facts.state, facts.nodes) == ("PENDING", ())
    assert (tmp_path / "calls").read_text().count("\n") == 1


async def test_a_node_list_is_written_out(tmp_path: Path) -> None:
    slurm = scontrol(
        tmp_path, 'case "$*" in "show hostnames node[1-2]") echo node1; echo node2;; *) echo "$MANY";; esac'
    )
    facts = await slurm.job("17")
    assert facts is not None
    assert facts.nodes == ("node1", "node2")


@pytest.mark.parametrize("said", ["", "node1 -v", "node1 $(id)"])
async def test_a_node_list_that_is_written_out_wrongly_is_malformed(tmp_path: Path, said: str) -> None:
    slurm = scontrol(tmp_path, f'case "$*" in *hostnames*) echo \'{said}\';; *) echo "$MANY";; esac')
    with pytest.raises(Malformed):
        await slurm.job("17")


@pytest.mark.parametrize("node", ["", "-v", "a b", "node1,node2", "ALL x", "a;id"])
async def test_only_a_nodes_name_reaches_the_command(tmp_path: Path, node: str) -> None:
    with pytest.raises(Refused):
        await scontrol(tmp_path, "exit 0").addresses(node)


async def test_a_nodes_address_is_slurms(tmp_path: Path) -> None:
    line = "NodeName=node1 Arch=x86_64 NodeAddr=10.77.0.11 NodeHostName=node1 OS=Linux 6.1 Partitions=main"
    assert await scontrol(tmp_path, f"echo '{line}'").addresses("node1") == {ip_address("10.77.0.11")}
    with pytest.raises(Malformed):
        await scontrol(tmp_path, f"echo '{line}'").addresses("node2")
    with pytest.raises(Malformed):
        await scontrol(tmp_path, f"echo '{line} NodeAddr=10.77.0.12'").addresses("node1")
    with pytest.raises(Unavailable):
        await scontrol(tmp_path, "echo 'Node node1 not found' >&2; exit 1").addresses("node1")


async def test_a_nodes_name_is_resolved(tmp_path: Path) -> None:
    found = await scontrol(tmp_path, "echo 'NodeName=node1 NodeAddr=localhost '").addresses("node1")
    assert found <= {ip_address("127.0.0.1"), ip_address("::1")}
    assert found
    with pytest.raises(Unavailable):
        await scontrol(tmp_path, "echo 'NodeName=node1 NodeAddr=node1.invalid '").addresses("node1")
