"""Versions: too old, unsupported and missing parts are red, by the package's own metadata."""

from jupyter_hpcsec.ops.doctor.finding import Status
from jupyter_hpcsec.ops.doctor.versions import (
    examine_parts,
    judge_openssl,
    judge_proxy,
    judge_python,
    judge_requirements,
)
from jupyter_hpcsec.ops.doctor.world import Ran

DECLARED = ["jupyterhub<7,>=6.0", "pyjwt>=2.10", 'sphinx; extra == "docs"']


def test_hub_five_is_not_supported() -> None:
    findings = judge_requirements(DECLARED, {"jupyterhub": "5.5.4", "pyjwt": "2.15.1"}.get)
    assert [finding.status for finding in findings] == [Status.OK, Status.BAD]
    assert "jupyterhub 5.5.4" in findings[1].what


def test_what_is_missing_is_red_but_extras_are_not_asked_for() -> None:
    findings = judge_requirements(DECLARED, {"jupyterhub": "6.1.1"}.get)
    assert [finding.status for finding in findings] == [Status.OK, Status.BAD]
    assert "pyjwt is not installed" in findings[1].what


def test_nothing_declared_is_unknown() -> None:
    assert judge_requirements([], dict[str, str]().get)[0].status is Status.UNKNOWN


def test_old_python_and_old_openssl() -> None:
    assert judge_python((3, 10, 14)).status is Status.BAD
    assert judge_python((3, 11, 2)).status is Status.OK
    assert judge_openssl("LibreSSL 3.8.2", tls13=True).status is Status.BAD
    assert judge_openssl("OpenSSL 3.0.19", tls13=False).status is Status.BAD
    assert judge_openssl("OpenSSL 1.1.1w", tls13=True).status is Status.WARN
    assert judge_openssl("OpenSSL 3.0.19 27 Jan 2026", tls13=True).status is Status.OK


def test_the_proxy() -> None:
    assert judge_proxy(None).status is Status.UNKNOWN
    assert judge_proxy(Ran(0, "4.5.6\n", "")).status is Status.WARN
    assert judge_proxy(Ran(0, "5.3.0\n", "")).status is Status.OK


def test_this_environment_holds() -> None:
    assert {finding.status for finding in examine_parts()} == {Status.OK}
