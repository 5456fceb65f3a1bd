"""The gateway's own word: no attestation, another version and a full table of descriptors are seen first."""

import pytest

from jupyter_hpcsec import __version__
from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.ops.doctor.finding import Status
from jupyter_hpcsec.ops.doctor.gateway import (
    endpoints_of,
    judge_attestors,
    judge_code,
    judge_descriptors,
    judge_policy,
    judge_refusals,
    judge_status,
)


def limits(number: int | str) -> str:
    return f"Limit  Soft Limit  Hard Limit  Units\nMax open files            {number}                20000  files\n"


@pytest.mark.parametrize("attestors", [[], ["none"], ["none", "munge"]])
def test_no_attestation_is_yellow(attestors: list[str]) -> None:
    assert judge_attestors(attestors).status is Status.WARN


def test_attestors_that_are_not_told_are_unknown() -> None:
    assert judge_attestors(None).status is Status.UNKNOWN
    assert judge_attestors("scheduler").status is Status.UNKNOWN


CODE = {"owners": [], "unsafe_any": False}
POLICY = {"file": "/etc/hpcsec/policy.yaml", "digest": "d", "error": "", "unsafe": False}


@pytest.mark.parametrize(
    ("policy", "status"),
    [
        (None, Status.UNKNOWN),
        ({}, Status.BAD),
        ({**POLICY, "error": "policy.yaml:3:5: test 1 fails", "digest": ""}, Status.BAD),
        ({**POLICY, "digest": ""}, Status.BAD),
        ({**POLICY, "file": "", "digest": "", "unsafe": True}, Status.WARN),
        (POLICY, Status.OK),
    ],
)
def test_the_access_policy(policy: object, status: Status) -> None:
    assert judge_policy(policy).status is status
    error = policy.get("error", "") if isinstance(policy, dict) else ""
    assert error in judge_policy(policy).what


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (CODE, Status.OK),
        ({"owners": [7], "unsafe_any": False}, Status.OK),
        ({"owners": [], "unsafe_any": True}, Status.WARN),
        (None, Status.UNKNOWN),
    ],
)
def test_who_may_own_the_nodes_code(code: object, status: Status) -> None:
    assert judge_code(code).status is status


def test_another_version() -> None:
    statuses = [finding.status for finding in judge_status({"version": "0.0.1", "attestors": ["scheduler"]})]
    assert statuses == [Status.OK, Status.WARN, Status.OK, Status.UNKNOWN, Status.UNKNOWN, Status.OK]


def test_all_well() -> None:
    status = {"version": __version__, "pid": 7, "attestors": ["scheduler", "munge"], "policy": POLICY, "code": CODE}
    assert {finding.status for finding in judge_status(status)} == {Status.OK}


def test_descriptors() -> None:
    assert judge_descriptors("", 5, 1, 2).status is Status.UNKNOWN
    assert judge_descriptors(limits(1024), 1000, 240, 2).status is Status.BAD
    assert judge_descriptors(limits(1024), 900, 220, 2).status is Status.WARN
    assert judge_descriptors(limits(20000), 900, 220, 2).status is Status.OK


def test_endpoints() -> None:
    with pytest.raises(Malformed, match="host:port"):
        endpoints_of({"endpoints": ["hub"]})
    assert [str(endpoint) for endpoint in endpoints_of({"endpoints": ["hub:1", "[::1]:2"]})] == ["hub:1", "[::1]:2"]
    assert endpoints_of({}) == []


def test_refusals() -> None:
    assert judge_refusals({"port.no-descriptor": 1}).status is Status.BAD
    assert judge_refusals({"token.used": 2}).status is Status.OK
    assert "token.used: 2" in judge_refusals({"token.used": 2}).what
    assert judge_refusals(None).status is Status.OK
