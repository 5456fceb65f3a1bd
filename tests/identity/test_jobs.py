"""Which jobs are believed: refusals by step, then the one that fits."""

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.errors import Malformed, Refused
from jupyter_hpcsec.identity.jobs import JOB_ID, NODE, JobFacts, UnsafeAnyAddress, check_job, parse_address

JOB = JobFacts("17", 1001, "RUNNING", ("node1", "node2"), batch_host="node1")


def refusal(facts: JobFacts | None, *, uid: int = 1001, job_id: str = "17", node: str = "node1") -> str:
    with pytest.raises(Refused) as caught:
        check_job(facts, uid=uid, job_id=job_id, node=node)
    return caught.value.rule.removeprefix("attest.")


def test_an_unknown_job_is_refused() -> None:
    assert refusal(None) == "unknown-job"


def test_an_answer_about_another_job_is_refused() -> None:
    assert refusal(replace(JOB, job_id="18")) == "other-job"


@pytest.mark.parametrize("uid", [0, 1002, -1])
def test_somebody_elses_job_is_refused(uid: int) -> None:
    assert refusal(replace(JOB, uid=uid)) == "other-user"
    assert refusal(JOB, uid=uid) == "other-user"


def test_somebody_elses_job_says_nothing_about_its_state() -> None:
    assert refusal(replace(JOB, state="PENDING", uid=1002, nodes=())) == "other-user"


STATES = {
    "PENDING": "pending",
    "CONFIGURING": "pending",
    "SUSPENDED": "not-running",
    "STOPPED": "not-running",
    "SIGNALING": "not-running",
    "RESIZING": "not-running",
    "COMPLETING": "ended",
    "COMPLETED": "ended",
    "CANCELLED": "ended",
    "FAILED": "ended",
    "TIMEOUT": "ended",
    "NODE_FAIL": "ended",
    "PREEMPTED": "ended",
    "OUT_OF_MEMORY": "ended",
    "BOOT_FAIL": "ended",
    "DEADLINE": "ended",
    "REVOKED": "ended",
    "STAGE_OUT": "ended",
    "REQUEUED": "requeued",
    "REQUEUE_HOLD": "requeued",
    "REQUEUE_FED": "requeued",
    "SPECIAL_EXIT": "requeued",
    "": "ended",
    "running": "ended",
    "RUNNING ": "ended",
    "A_STATE_OF_THE_FUTURE": "ended",
}


@pytest.mark.parametrize("state", STATES)
def test_every_state_but_one_is_refused(state: str) -> None:
    assert refusal(replace(JOB, state=state)) == STATES[state]


def test_a_job_that_was_put_back_is_refused_while_it_runs_again() -> None:
    assert refusal(replace(JOB, restarts=1)) == "requeued"


@pytest.mark.parametrize("node", ["node3", "", "node", "node1.example.org", "NODE1", "node[1-2]", "node1,node2"])
def test_another_node_is_refused(node: str) -> None:
    assert refusal(JOB, node=node) == "other-node"


def test_the_jobs_other_node_is_refused() -> None:
    assert refusal(JOB, node="node2") == "other-node"
    assert refusal(replace(JOB, batch_host="node9"), node="node1") == "other-node"
    assert refusal(replace(JOB, nodes=("node2",)), node="node1") == "other-node"


def test_a_job_without_nodes_is_refused() -> None:
    assert refusal(replace(JOB, nodes=())) == "other-node"


def test_the_users_running_job_on_its_node_passes() -> None:
    check_job(JOB, uid=1001, job_id="17", node="node1")


def test_a_job_without_a_script_may_speak_from_each_of_its_nodes() -> None:
    for node in JOB.nodes:
        check_job(replace(JOB, batch_host=None), uid=1001, job_id="17", node=node)


@given(
    st.builds(
        JobFacts,
        st.sampled_from(["17", "18"]),
        st.sampled_from([0, 1001]),
        st.sampled_from(["RUNNING", "PENDING"]),
        st.lists(st.sampled_from(["node1", "node2"]), max_size=2).map(tuple),
        batch_host=st.sampled_from([None, "node1", "node2"]),
        restarts=st.sampled_from([0, 1]),
    )
)
def test_what_passes_fits_in_every_respect(facts: JobFacts) -> None:
    fits = (
        (facts.job_id, facts.uid, facts.state, facts.restarts) == ("17", 1001, "RUNNING", 0)
        and "node1" in facts.nodes
        and facts.batch_host in {None, "node1"}
    )
    if fits:
        check_job(facts, uid=1001, job_id="17", node="node1")
    else:
        refusal(facts)


@pytest.mark.parametrize("text", ["", "node1", "10.0.0", "10.0.0.1/8", "010.0.0.1", "::1%", "10.0.0.1\n", "1" * 99])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_address(text)


def test_one_address_has_one_value() -> None:
    assert parse_address("::ffff:10.77.0.11") == parse_address("10.77.0.11") == ip_address("10.77.0.11")
    assert parse_address("2001:DB8::1") == parse_address("2001:db8:0:0::1")


@pytest.mark.parametrize(
    "name", ["", "-v", "a/b", "../a", "a b", "a,b", "a[1-2]", "a\n", "ä", "a" * 255, "a=b", "$(a)"]
)
def test_a_nodes_name_is_never_an_option_or_a_list(name: str) -> None:
    assert not NODE.fullmatch(name)


@pytest.mark.parametrize("name", ["a", "node-1.example.org", "nid00017", "r1_c2", "a" * 254])
def test_a_nodes_name(name: str) -> None:
    assert NODE.fullmatch(name)


@pytest.mark.parametrize(
    "job_id", ["", "-1", "--help", "1;id", "1 2", "1\n", "../1", "a" * 129, "\N{FULLWIDTH DIGIT ONE}"]
)
def test_a_job_id_is_never_an_option(job_id: str) -> None:
    assert not JOB_ID.fullmatch(job_id)


async def test_unsafe_any_address_compares_nothing() -> None:
    assert await UnsafeAnyAddress().addresses("node1") is None  # type: ignore[func-returns-value]
