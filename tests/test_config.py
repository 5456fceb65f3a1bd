"""Settings: what contradicts itself or weakens the gateway by accident is refused with the fix; defaults are secure."""

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from traitlets import TraitError
from traitlets.config import Config

from jupyter_hpcsec.config import HpcsecGateway, Limits

ENOUGH: dict[str, Any] = {"public_endpoints": ["hub.example:8443"]}


def gateway(**values: Any) -> HpcsecGateway:
    return HpcsecGateway(config=Config({"HpcsecGateway": {**ENOUGH, **values}}))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"public_endpoints": []}, r"set c\.HpcsecGateway\.public_endpoints"),
        ({"attestors": []}, r"an empty list"),
        ({"attestors": ["schedular"]}, r"schedular"),
        ({"attestors": ["none"]}, r"unsafe_no_attestation = True"),
        ({"attestors": ["none", "munge"], "unsafe_no_attestation": True}, r"stands alone"),
        ({"hub_base_url": "jupyter"}, r"base_url"),
        ({"hub_base_url": "/a/../b/"}, r"base_url"),
        ({"hub_base_url": "/a%2f/"}, r"base_url"),
        ({"run_directory": "/run/Hpcsec"}, r"lower case"),
        ({"run_directory": "run"}, r"absolute"),
        ({"run_directory": "/" + "x" * 60}, r"60 bytes"),
        ({"certificate_lifetime_s": 3601}, r"3600"),
        ({"certificate_lifetime_s": 59}, r"60"),
        ({"lanes_per_session": 1}, r"lanes_per_session"),
        ({"handshakes_per_second": 0.0}, r"handshakes_per_second"),
        ({"heartbeat_s": 30, "dead_after_s": 45}, r"two heartbeats"),
        ({"idle_lanes": 16, "lanes_per_session": 8}, r"above lanes_per_session"),
        ({"allowed_peers": ["no-such-user-here"]}, r"no-such-user-here"),
        ({"socket_group": "no-such-group-here"}, r"no-such-group-here"),
        ({"stream_idle_s": 1.0}, r"stream_idle_s"),
        ({"policy_file": "policy.yaml"}, r"absolute path.*unsafe_no_access_control"),
        ({"policy_file": ""}, r"unsafe_no_access_control"),
        ({"policy_grace_s": -1}, r"policy_grace_s"),
        ({"metrics_listen": "0.0.0.0:9464"}, r"address of the loopback"),
        ({"metrics_listen": "10.0.0.5:9464"}, r"address of the loopback"),
        ({"metrics_listen": "localhost:9464"}, r"address of the loopback"),
        ({"metrics_listen": "127.0.0.1"}, r"address of the loopback"),
        ({"metrics_listen": "127.0.0.1:99999"}, r"address of the loopback"),
    ],
)
def test_settings_that_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(TraitError, match=said):
        gateway(**values).settings()


def test_to_do_without_a_policy_has_to_be_said() -> None:
    assert gateway(unsafe_no_access_control=True, policy_file="/etc/x").settings().policy_file is None


def test_the_defaults_are_the_secure_choice() -> None:
    settings = gateway().settings()
    assert settings.attestors == ("scheduler", "munge")
    assert settings.compares_node_address
    assert settings.socket_gid is None
    assert settings.allowed_uids == {0, os.geteuid()}
    assert settings.certificate_lifetime_s <= 3600
    assert settings.limits == Limits()
    assert settings.policy_file == Path("/etc/hpcsec/policy.yaml") and settings.policy_grace_s == 600
    assert settings.admin_socket == Path("/run/hpcsec/admin.sock")
    assert settings.metrics_listen == ""
    assert settings.forward == Path("/var/lib/hpcsec/forward")
    assert any("[::]" in endpoint for endpoint in settings.listen)


@pytest.mark.parametrize("listen", ["127.0.0.1:9464", "127.8.0.1:0", "[::1]:9464"])
def test_metrics_may_be_served_on_the_loopback(listen: str) -> None:
    assert gateway(metrics_listen=listen).settings().metrics_listen == listen


def test_every_limit_can_be_set_or_is_fixed() -> None:
    settable = {field.name for field in fields(Limits) if HpcsecGateway().has_trait(field.name)}
    assert {field.name for field in fields(Limits)} - settable == {
        "handshake_s",
        "waiting_connections",
        "quiet_after_s",
    }


@pytest.mark.parametrize("name", sorted(HpcsecGateway.class_own_traits(config=True)))
def test_every_setting_has_help(name: str) -> None:
    assert len(HpcsecGateway.class_traits()[name].help) > 10


def test_settings_become_values() -> None:
    settings = gateway(
        allowed_peers=["root", "12345"], run_directory="/run/x", attestors=["munge"], unsafe_any_node_address=True
    ).settings()
    assert {0, 12345} <= settings.allowed_uids
    assert not settings.proxy_uids
    assert settings.admin_socket == Path("/run/x/admin.sock")
    assert settings.attestors == ("munge",)
    assert not settings.compares_node_address
    assert "hpcsec.internal" in settings.issuer
    assert gateway(attestors=["none"], unsafe_no_attestation=True).settings().attestors == ("none",)
