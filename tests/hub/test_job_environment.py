"""Our variables are taken out of the environment, whatever they hold, and only one spelling of each is accepted."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.hub.job_environment import JobEnvironment, job_id, node, parse_ca, parse_endpoints, take

GOOD = {
    "HPCSEC_TOKEN": "aaa.bbb.ccc",
    "HPCSEC_GATEWAY": "hub.example.org:8443,[fd00::1]:8443",
    "HPCSEC_CA": base64.b64encode(b"DER").decode(),
    "SLURM_JOB_ID": "17",
    "SLURMD_NODENAME": "node1",
    "HOME": "/home/alice",
}


def refuse(change: dict[str, str | None], match: str) -> None:
    environment = {name: value for name, value in {**GOOD, **change}.items() if value is not None}
    with pytest.raises(Malformed, match=match):
        take(environment, hostname="here")
    assert not [name for name in environment if name.startswith("HPCSEC_")], "taken out also when refused"


@pytest.mark.parametrize("name", ["HPCSEC_TOKEN", "HPCSEC_GATEWAY", "HPCSEC_CA"])
def test_each_variable_is_needed(name: str) -> None:
    refuse({name: None}, f"{name} is not set")
    refuse({name: ""}, f"{name} is not set")
    refuse({name: "a" * 9000}, name)
    refuse({name: "ä"}, f"{name} is not ASCII")


@pytest.mark.parametrize("token", ["aaa", "a.b", "a.b.c.d", "a..c", "a.b.c\n", " a.b.c", "a.b=.c"])
def test_a_token_has_three_parts(token: str) -> None:
    refuse({"HPCSEC_TOKEN": token}, "HPCSEC_TOKEN")


@pytest.mark.parametrize(
    "gateway",
    ["hub", "hub:", ":1", "hub:0", "hub:01", "hub:65536", "hub:1,", ",hub:1", "hub:1 ", "hub:1\n", "-hub:1",
     "a@hub:1", "hub/x:1", "fd00::1:1", "[fd00::1:1", "[x]:1", ",".join(["hub:1"] * 9)],
)  # fmt: skip
def test_a_gateway_is_a_list_of_host_and_port(gateway: str) -> None:
    refuse({"HPCSEC_GATEWAY": gateway}, "HPCSEC_GATEWAY")


def test_gateways_are_read() -> None:
    many = ("127.0.0.1:1", "[::1]:65535", "[fe80::1%eth0]:443", "hub-1.example.org:8443", "hub.:1")
    assert parse_endpoints(",".join(many)) == many


@pytest.mark.parametrize("ca", ["!", "REVS=", "REV S", "REVS\n", "RQ", "RR=="])
def test_an_authority_is_canonical_base64(ca: str) -> None:
    refuse({"HPCSEC_CA": ca}, "HPCSEC_CA")


@given(st.binary(min_size=1, max_size=2000))
def test_every_authority_has_one_spelling(ca: bytes) -> None:
    assert parse_ca(base64.b64encode(ca).decode()) == ca


def test_a_job_has_an_id() -> None:
    refuse({"SLURM_JOB_ID": None}, "not a batch job")
    for bad in ("", "../1", "1 2", "1\n", "x" * 200, "-1"):
        with pytest.raises(Malformed):
            job_id({"PBS_JOBID": bad})
    assert job_id({"PBS_JOBID": "4711[3].head"}) == "4711[3].head"
    assert job_id({"LSB_JOBID": "12"}) == "12"
    assert job_id({"SLURM_JOB_ID": "1", "HPCSEC_LOCAL_JOB_ID": "ab12"}) == "ab12", "the innermost"


def test_a_node_has_a_name() -> None:
    for bad in ("a b", "a/b", "", "a..b", "x" * 300):
        with pytest.raises(Malformed):
            node({}, bad)
    assert node({}, "login1") == "login1"
    assert node({"SLURMD_NODENAME": "node-7"}, "login1") == "node-7"


def test_a_job_is_read_and_its_variables_are_gone() -> None:
    environment = {**GOOD, "HPCSEC_UNKNOWN": "x", "SLURM_JOB_END_TIME": "1800000000"}
    assert take(environment, hostname="here") == JobEnvironment(
        token="aaa.bbb.ccc",
        endpoints=("hub.example.org:8443", "[fd00::1]:8443"),
        ca=b"DER",
        job_id="17",
        node="node1",
        ends_at=1800000000,
    )
    assert sorted(environment) == ["HOME", "SLURMD_NODENAME", "SLURM_JOB_END_TIME", "SLURM_JOB_ID"]


def test_the_token_is_not_shown() -> None:
    assert "aaa.bbb.ccc" not in repr(take(dict(GOOD), hostname="here"))


@given(st.text(max_size=300))
def test_nothing_but_a_refusal_comes_of_nonsense(text: str) -> None:
    for parse in (parse_endpoints, parse_ca):
        try:
            parse(text)
        except Malformed:
            continue
        assert text.isascii()
