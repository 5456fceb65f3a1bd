import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.hub.jobstate import (
    FINAL,
    PENDING_HINTS,
    SLURM_PHASES,
    WHILE_COMPLETING,
    JobView,
    Phase,
    final_sentence,
    parse_bjobs,
    parse_qstat,
    parse_scontrol,
    parse_squeue,
    parse_words,
    pending_hint,
    progress_sentence,
    queue_position,
    rejected_sentence,
    with_position,
)

PARSERS = (parse_squeue, parse_scontrol, parse_qstat, parse_bjobs, parse_words)

SCONTROL = (
    "JobId=7 JobName=jupyter UserId=alice(1000) GroupId=alice(1000) MCS_label=N/A Priority=1 Nice=0 Account=(null) "
    "QOS=(null) JobState={state} Reason={reason} Dependency=(null) Requeue=0 Restarts=0 BatchFlag=1 Reboot=0 "
    "ExitCode={code} RunTime=00:00:09 TimeLimit=01:00:00\n"
)


@pytest.mark.parametrize("parse", PARSERS)
@given(text=st.text(max_size=400))
def test_no_text_breaks_a_parser_or_yields_more_than_bounded_lines(parse, text) -> None:
    view = parse(text)
    for field in dataclasses.fields(view):
        value = getattr(view, field.name)
        if isinstance(value, str) and field.name != "phase":
            assert len(value) <= 253 and value.isprintable()
    for sentence in (progress_sentence(view), final_sentence(view)):
        assert sentence.isprintable()


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "complaint",
    [
        "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
        "slurm_load_jobs error: Socket timed out on send/recv operation",
        "squeue: command not found",
    ],
)
def test_a_scheduler_that_does_not_answer_proves_nothing(parse, complaint) -> None:
    view = parse(complaint)
    assert view.phase is Phase.UNKNOWN and view.is_alive
    assert complaint[:20] in progress_sentence(view)


@pytest.mark.parametrize(
    ("parse", "complaint"),
    [
        (parse_squeue, "slurm_load_jobs error: Invalid job id specified"),
        (parse_scontrol, "slurm_load_jobs error: Invalid job id specified"),
        (parse_qstat, "qstat: Unknown Job Id 12.head"),
        (parse_bjobs, "Job <12> is not found"),
        (parse_words, "localjob: Invalid job id specified: there is no local job 0123456789ab."),
        (parse_squeue, ""),
    ],
)
def test_a_job_that_the_scheduler_does_not_know_is_gone(parse, complaint) -> None:
    assert parse(complaint) == JobView(Phase.GONE)


def test_squeue_queued_running_and_ended() -> None:
    assert parse_squeue("PENDING|Resources|2026-01-02T03:04:05|n/a") == JobView(
        Phase.QUEUED, "PENDING", "Resources", starts="2026-01-02T03:04:05"
    )
    assert parse_squeue("PENDING|Priority|N/A|(null)") == JobView(Phase.QUEUED, "PENDING", "Priority")
    assert parse_squeue("RUNNING|None|2026-01-02T03:04:05|node1").node == "node1"
    assert parse_squeue("TIMEOUT|TimeLimit|2026-01-02T03:04:05|node1").phase is Phase.ENDED


def test_a_node_that_is_no_host_name_is_not_shown() -> None:
    assert parse_squeue("RUNNING|None|N/A|<b>node</b>").node == ""
    assert parse_words("RUNNING ../../etc").node == ""


@pytest.mark.parametrize("state", [state for state, phase in SLURM_PHASES.items() if phase is Phase.ENDED])
def test_every_final_state_has_a_sentence_with_reason_and_advice(state) -> None:
    view = parse_scontrol(SCONTROL.format(state=state, reason="TheirReason", code="3:0"))
    assert view == JobView(Phase.ENDED, state, "TheirReason", exit_code="3:0")
    sentence = final_sentence(view)
    assert "TheirReason" in sentence and "Start it again" in sentence
    if state not in FINAL:
        assert state in sentence


def test_states_are_told_apart() -> None:
    sentences = {state: final_sentence(JobView(Phase.ENDED, state)) for state in FINAL if state != "COMPLETING"}
    assert len(set(sentences.values())) == len(sentences)


@pytest.mark.parametrize("reason", WHILE_COMPLETING)
def test_a_job_that_is_being_ended_is_told_by_its_reason(reason) -> None:
    ended = final_sentence(JobView(Phase.ENDED, WHILE_COMPLETING[reason], reason))
    assert final_sentence(JobView(Phase.ENDED, "COMPLETING", reason)) == ended
    assert "before the notebook server was ready" in final_sentence(JobView(Phase.ENDED, "COMPLETING", "Odd"))


def test_exit_codes_and_signals() -> None:
    assert "exit code 78." in final_sentence(JobView(Phase.ENDED, "FAILED", exit_code="78:0"))
    assert "signal 9" in final_sentence(JobView(Phase.ENDED, "FAILED", exit_code="0:9"))
    assert "exit code" not in final_sentence(JobView(Phase.ENDED, "COMPLETED", exit_code="0:0"))
    assert "exit code" not in final_sentence(JobView(Phase.ENDED, "TIMEOUT", exit_code="0:15"))


def test_braces_in_the_schedulers_words_stay_text() -> None:
    assert "{code}" in final_sentence(JobView(Phase.ENDED, "NEW{code}", "{why}"))


def test_progress_of_a_queued_job() -> None:
    queued = JobView(Phase.QUEUED, "PENDING", "Resources", starts="2026-01-02T03:04:05")
    assert progress_sentence(with_position(queued, 4)) == (
        "Your job is queued; 3 jobs are ahead of it; waiting for free resources (Resources); "
        "estimated start 2026-01-02T03:04:05"
    )
    assert "it is next" in progress_sentence(with_position(queued, 1))
    assert "batch system says: Odd" in progress_sentence(JobView(Phase.QUEUED, reason="Odd"))


@pytest.mark.parametrize("reason", ["QOSMaxJobsPerUserLimit", "AssocGrpCpuLimit", "MaxJobsPerAccount", "QOSGrpGRES"])
def test_limits_are_explained(reason) -> None:
    assert "limit" in pending_hint(reason)


def test_hints_are_lines() -> None:
    assert pending_hint("ReqNodeNotAvail, UnavailableNodes:node1") == PENDING_HINTS["ReqNodeNotAvail"]
    assert pending_hint("SomethingNew") == ""


def test_queue_position() -> None:
    assert queue_position("9\n7\n12_[1-4]\n8\n", "8") == 4
    assert queue_position("9\n7\n", "8") is None
    assert queue_position("", "8") is None


def test_a_rejection_is_bounded_and_one_line() -> None:
    sentence = rejected_sentence("sbatch: error: Batch job submission failed:\nInvalid partition\x1b[31m " + "x" * 5000)
    assert "Invalid partition" in sentence and sentence.isprintable() and len(sentence) < 400
    assert "no reason given" in rejected_sentence(" \n")


def test_pbs_record() -> None:
    text = (
        "Job Id: 12.head\n    Job_Name = jupyter\n    job_state = Q\n"
        "    comment = Not Running: Insufficient amount of\n"
        "\tresource: ncpus\n"
    )
    assert parse_qstat(text) == JobView(Phase.QUEUED, "Q", "Not Running: Insufficient amount of")
    running = parse_qstat("    job_state = R\n    exec_host = node7/0*4\n")
    assert (running.phase, running.node) == (Phase.RUNNING, "node7")
    assert parse_qstat("    job_state = F\n    Exit_status = 271\n").exit_code == "271"


def test_lsf_line() -> None:
    assert parse_bjobs("PEND|-|-|New job is waiting for scheduling;").reason == "New job is waiting for scheduling;"
    running = parse_bjobs("RUN|4*node3:4*node4|-|-")
    assert (running.phase, running.node, running.reason) == (Phase.RUNNING, "node3", "")
    assert parse_bjobs("EXIT|node3|130|-") == JobView(Phase.ENDED, "EXIT", node="node3", exit_code="130")


def test_local_words() -> None:
    assert parse_words("RUNNING here") == JobView(Phase.RUNNING, "RUNNING", node="here")
    assert parse_words("FAILED 78") == JobView(Phase.ENDED, "FAILED", exit_code="78")
    assert parse_words("CANCELLED") == JobView(Phase.ENDED, "CANCELLED")
