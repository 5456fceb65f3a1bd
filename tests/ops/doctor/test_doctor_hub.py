"""The hub's side as a whole: a gateway that is away leaves red and unknown lines, and no green one in their place."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec import __version__
from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.ops.doctor.fake import FakeWorld
from jupyter_hpcsec.ops.doctor.finding import Finding, Status, holds
from jupyter_hpcsec.ops.doctor.handshake import Handshake
from jupyter_hpcsec.ops.doctor.hub import HubSide, examine
from jupyter_hpcsec.ops.doctor.world import FileFact, HttpAnswer, Ran
from jupyter_hpcsec.tunnel.messages import CONTROL, ENROL, LANE
from jupyter_hpcsec.tunnel.peer import PeerCredentials

CA = b"the authority's certificate"
STATUS = {
    "version": __version__,
    "endpoints": ["hub.example:8443"],
    "attestors": ["scheduler", "munge"],
    "sessions": 2,
    "policy": {"file": "/etc/hpcsec/policy.yaml", "digest": "d", "error": "", "unsafe": False},
    "state_directory": "/var/lib/hpcsec",
    "run_directory": "/run/hpcsec",
    "limits": {"idle_lanes": 2},
    "refusals": {"token.expired": 3},
    "code": {"owners": [], "unsafe_any": False},
    "audit": {"durable": 5, "published": 5, "failing": "", "lost": 0},
}


TO_LOGIN = (
    "/hub/api/oauth2/authorize?client_id=service-hpcsec&redirect_uri=%2Fservices%2Fhpcsec%2Foauth_callback&state=x"
)
KEYS = [
    {"kind": "token", "id": "k1", "expires": None},
    {"kind": "authority", "id": hashlib.sha256(CA).hexdigest(), "expires": 2_000_000_000},
    {"kind": "authority", "id": "0" * 64, "expires": 1_000_000_000},
]


def side(status: Mapping[str, Any] | None = STATUS, keys: Sequence[Mapping[str, Any]] = KEYS) -> HubSide:
    def ask() -> Mapping[str, Any]:
        if status is None:
            raise Unavailable("no gateway answers on /run/hpcsec/admin.sock")
        return {**status, "keys": keys}

    return HubSide(
        admin_socket=Path("/run/hpcsec/admin.sock"),
        status=ask,
        public_url="https://hub.example/",
        proxy_api_url="http://127.0.0.1:8001/",
        hub_api_url="http://127.0.0.1:8081/hub/api",
        batch_system="slurm",
    )


def healthy(world: FakeWorld) -> FakeWorld:
    up = Ran(0, "Slurmctld(primary) at head is UP\n", "")
    world.commands = {
        "sbatch --version": Ran(0, "slurm 23.11.1", ""),
        "squeue": up,
        "scancel": up,
        "scontrol ping": up,
        "scontrol show config": Ran(0, "AuthType = auth/munge\nProctrackType = proctrack/cgroup\n", ""),
        "munge --version": Ran(0, "munge-0.5.18 (2026-02-10)", ""),
        "munge -n": Ran(0, "MUNGE:x:", ""),
        "unmunge": Ran(0, "STATUS: Success (0)", ""),
        "unshare --user true": Ran(0, "", ""),
        "configurable-http-proxy --version": Ran(0, "5.3.0", ""),
    }
    world.gateway = PeerCredentials(pid=7, uid=900, gid=900)
    world.files = {
        "/run/hpcsec/admin.sock": FileFact(0o660, 900, "socket"),
        "/run/hpcsec": FileFact(0o750, 900, "directory"),
        "/run/hpcsec/s": FileFact(0o750, 900, "directory"),
        "/run/hpcsec/s/a.sock": FileFact(0o600, 900, "socket"),
        "/var/lib/hpcsec": FileFact(0o700, 900, "directory"),
        "/etc/munge/munge.key": FileFact(0o400, 104, "file"),
        "/proc/7/fd/1": FileFact(0o600, 900, "other"),
    }
    world.texts = {
        "/proc/7/limits": "Max open files  20000  20000 files\n",
        "/proc/mounts": "proc /proc proc rw,hidepid=2 0 0\n",
        "/proc/sys/kernel/seccomp/actions_avail": "errno user_notif allow",
    }
    shown = Handshake(version="TLSv1.3", alpn=ENROL, chain=(b"leaf", CA), afterwards="waits")
    refused = Handshake(version="TLSv1.3", afterwards="alert: certificate required")
    world.shakes = {ENROL: shown, CONTROL: refused, LANE: refused}
    world.answers = {
        "https://hub.example/": HttpAnswer(302, {}),
        "https://hub.example/services/hpcsec/live": HttpAnswer(302, {"location": TO_LOGIN}),
        "http://127.0.0.1:8001/": HttpAnswer(403, {}),
        "http://127.0.0.1:8081/hub/api": HttpAnswer(200, {}),
    }
    return world


def of(findings: list[Finding], hop: str) -> set[Status]:
    return {finding.status for finding in findings if finding.hop == hop}


def test_no_gateway(world: FakeWorld) -> None:
    findings = examine(healthy(world), side(status=None))
    assert not holds(findings)
    assert of(findings, "gateway") == {Status.BAD}
    assert of(findings, "tls") == {Status.UNKNOWN}
    assert of(findings, "descriptors") == {Status.UNKNOWN}
    assert of(findings, "scheduler") == {Status.OK}


def test_a_session_socket_that_is_open_to_all(world: FakeWorld) -> None:
    healthy(world).files["/run/hpcsec/s/b.sock"] = FileFact(0o666, 900, "socket")
    findings = examine(world, side())
    assert not holds(findings)
    assert any("b.sock" in finding.what for finding in findings if finding.status is Status.BAD)


def test_an_authority_that_jobs_still_trust_must_be_shown(world: FakeWorld) -> None:
    retired = {"kind": "authority", "id": "1" * 64, "expires": 1_900_000_000}
    assert of(examine(healthy(world), side(keys=[*KEYS, retired])), "ca pin") == {Status.OK, Status.UNKNOWN}


def test_a_state_directory_that_others_may_enter(world: FakeWorld) -> None:
    healthy(world).files["/var/lib/hpcsec"] = FileFact(0o755, 900, "directory")
    assert Status.BAD in of(examine(world, side()), "permissions")


@pytest.mark.parametrize("path", ["/run/hpcsec", "/run/hpcsec/s"])
def test_a_directory_that_keeps_the_proxy_from_the_sockets(world: FakeWorld, path: str) -> None:
    healthy(world).files[path] = FileFact(0o700, 900, "directory")
    (finding,) = [finding for finding in examine(world, side()) if finding.status is Status.BAD]
    assert "0700" in finding.what and finding.fix == f"chmod 0755 {path}"
    world.files["/run/hpcsec/admin.sock"] = FileFact(0o600, 900, "socket")  # hub, proxy and gateway are one account
    assert holds(examine(world, side()))


def test_munge_missing_where_it_attests(world: FakeWorld) -> None:
    del healthy(world).commands["munge --version"]
    assert of(examine(world, side()), "munge") == {Status.BAD}


def test_a_check_that_can_not_be_made_is_unknown(world: FakeWorld) -> None:
    del healthy(world).texts["/proc/mounts"]
    assert of(examine(world, side()), "kernel") == {Status.UNKNOWN}


def test_all_well(world: FakeWorld) -> None:
    findings = examine(healthy(world), side())
    assert {finding.status for finding in findings} == {Status.OK}, [f for f in findings if f.fix]
    assert holds(findings)
