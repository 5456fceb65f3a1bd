"""The files in ``hub_config``: they load, are what the code uses, and allow no more than they say."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from jupyter_hpcsec.config import HpcsecGateway
from jupyter_hpcsec.config_console import HpcsecConsole
from jupyter_hpcsec.hub.profiles import parse_profiles
from jupyter_hpcsec.hub.spawner import HpcsecSlurmSpawner, HpcsecSpawnerMixin
from jupyter_hpcsec.hub.submission import JOB_VARIABLES, KEEP, SLURM_SCRIPT, render_script
from tests.hub.test_submission import VARIABLES

FILES = Path(__file__).parents[2] / "hub_config"
UNITS = sorted(FILES.glob("*.service"))


def load(name: str, monkeypatch: pytest.MonkeyPatch, conf_d: Path) -> Any:
    monkeypatch.setenv("HPCSEC_HUB_CONF_D", str(conf_d))
    return PyFileConfigLoader(name, str(FILES)).load_config()


def test_every_setting_of_the_hubs_configuration_exists(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from jupyterhub.app import JupyterHub
    from jupyterhub.auth import Authenticator, LocalAuthenticator
    from jupyterhub.proxy import ConfigurableHTTPProxy
    from jupyterhub.spawner import Spawner

    config = load("jupyterhub_config.py", monkeypatch, tmp_path)
    classes: dict[str, Any] = {
        cls.__name__: cls
        for cls in (
            *(JupyterHub, Authenticator, LocalAuthenticator, ConfigurableHTTPProxy, Spawner),
            *(HpcsecSpawnerMixin, HpcsecSlurmSpawner),
        )
    }
    for section, values in config.items():
        for name in values:
            assert name in classes[section].class_trait_names(config=True), f"{section}.{name}"
    assert parse_profiles(config.HpcsecSpawnerMixin.profiles)
    assert HpcsecSlurmSpawner(config=config).profiles == config.HpcsecSpawnerMixin.profiles


def test_a_sites_own_files_win_in_their_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "20-b.py").write_text("c = get_config()\nc.HpcsecSpawnerMixin.start_timeout = 2\n")
    (tmp_path / "10-a.py").write_text("c = get_config()\nc.HpcsecSpawnerMixin.start_timeout = 1\n")
    (tmp_path / "30-c.txt").write_text("no Python")
    assert load("jupyterhub_config.py", monkeypatch, tmp_path).HpcsecSpawnerMixin.start_timeout == 2


def test_hub_and_gateway_agree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub = load("jupyterhub_config.py", monkeypatch, tmp_path)
    given = load("hpcsec_gateway_config.py", monkeypatch, tmp_path)
    gateway = HpcsecGateway(config=Config(given))
    assert set(given.HpcsecGateway) <= set(HpcsecGateway.class_trait_names(config=True))
    assert gateway.admin_socket == hub.HpcsecSpawnerMixin.admin_socket
    assert gateway.hub_api_url == f"{hub.JupyterHub.hub_bind_url}/hub/api"
    assert gateway.token_lifetime_s >= hub.HpcsecSpawnerMixin.start_timeout
    users = {line.partition("=")[2] for unit in UNITS for line in unit.read_text().splitlines() if line[:5] == "User="}
    assert users - {"hpcsec"} == {*gateway.allowed_peers, *gateway.proxy_users}


def test_hub_and_console_agree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not load("jupyterhub_config.py", monkeypatch, tmp_path).JupyterHub.get("services")  # none without its token
    monkeypatch.setenv("HPCSEC_CONSOLE_TOKEN", "0" * 64)
    hub = load("jupyterhub_config.py", monkeypatch, tmp_path)
    gateway = load("hpcsec_gateway_config.py", monkeypatch, tmp_path)
    given = load("hpcsec_console_config.py", monkeypatch, tmp_path)
    console = HpcsecConsole(config=Config(given))
    assert set(given.HpcsecConsole) <= set(HpcsecConsole.class_trait_names(config=True))
    services: Any = hub.JupyterHub.services
    [service] = services.get_value([]) if hasattr(services, "get_value") else services
    assert service["url"] == f"http://{console.listen}" and service["api_token"] == "0" * 64
    assert f"/services/{service['name']}/" == console.base_url and f"service-{service['name']}" == console.client_id
    assert console.hub_api_url == f"{hub.JupyterHub.hub_bind_url}/hub/api"
    assert set(console.proxy_users) == {*gateway.HpcsecGateway.proxy_users, *gateway.HpcsecGateway.allowed_peers}
    held = {scope for role in hub.JupyterHub.load_roles for scope in role["scopes"] if scope.startswith("custom:")}
    assert held == set(hub.JupyterHub.custom_scopes) == set(service["oauth_client_allowed_scopes"])
    assert not any(role.get("users") for role in hub.JupyterHub.load_roles)  # nobody until the site says who


def test_the_consoles_unit_gives_it_nothing() -> None:
    unit = (FILES / "hpcsec-console.service").read_text().splitlines()
    for line in ("User=hpcsec", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "ProtectSystem=strict", "UMask=0077"):
        assert line in unit


@pytest.mark.parametrize(
    "values", [{}, {"logdir": ""}, {"partition": "main", "gres": "gpu:1", "runtime": "1:00:00"}, {"epilogue": "true"}]
)
def test_the_job_template_is_what_the_spawner_uses(values: dict[str, str]) -> None:
    def lines(template: str) -> list[str]:
        return [line for line in render_script(template, {**VARIABLES, **values}).splitlines() if line]

    assert lines((FILES / "job_template.sh").read_text()) == lines(SLURM_SCRIPT)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and "CI" not in os.environ,
    reason="systemd-analyze is not installed (hub_config/debian-packages.txt); where CI is set that is a failure",
)
def test_units_are_understood(unit: Path, tmp_path: Path) -> None:
    def complaints(text: str) -> str:
        (tmp_path / unit.name).write_text(text)
        verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(tmp_path / unit.name)]
        return subprocess.run(verify, capture_output=True, text=True, check=False).stderr

    program = next(line for line in unit.read_text().splitlines() if line.startswith("ExecStart="))
    text = unit.read_text().replace(program.split("=", 1)[1].split()[0], "/bin/true")
    assert "NoSuchSetting" in complaints(text.replace("[Service]", "[Service]\nNoSuchSetting=1"))
    assert complaints(text) == ""


def test_the_gateways_unit_gives_it_nothing() -> None:
    unit = (FILES / "hpcsec-gateway.service").read_text()
    for line in (
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "LimitCORE=0",
    ):
        assert line in unit.splitlines()


# sudo

SUDO = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("sudo") is None or shutil.which("unshare") is None,
    reason="needs root, sudo and a mount namespace",
)
FAKE = '#!/bin/sh\necho "$0 $*"; id -un; env\n'


@pytest.fixture
def sudo(tmp_path: Path) -> Any:
    """Runs sudo as the account ``mail`` under our rules, in a mount namespace with stand-ins for Slurm's commands."""
    rules = (FILES / "sudoers").read_text().replace("(%jupyter)", "(nobody)").replace("\njupyterhub ", "\nmail ")
    (tmp_path / "sudoers").write_text(rules)
    (tmp_path / "sudoers").chmod(0o440)
    (tmp_path / "fake").write_text(FAKE)
    (tmp_path / "fake").chmod(0o755)
    mounts = [f"mount --bind {tmp_path}/sudoers /etc/sudoers"]
    mounts += [f"touch /usr/bin/{name}; mount --bind {tmp_path}/fake /usr/bin/{name}" for name in ("sbatch", "scancel")]
    become = "exec setpriv --reuid=mail --regid=mail --init-groups --"
    environment = {**dict.fromkeys((*JOB_VARIABLES, "SLURM_CONF"), "kept"), "PATH": "/usr/bin:/bin", "LD_AUDIT_": "x"}

    def run(*argv: str) -> str:
        script = " && ".join([*mounts, f'{become} "$@"'])
        command = ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh", "sudo", "-n", *argv]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, cwd="/"
        )
        return done.stdout if done.returncode == 0 else f"refused: {done.stderr}"

    return run


@SUDO
@pytest.mark.parametrize(
    "argv",
    [
        ["--user=nobody", "--", "sbatch"],
        ["--user=nobody", "--", "sbatch", "--parsable", "--uid=0"],
        ["--user=nobody", "--", "sbatch", "--parsable", "--wrap=id"],
        ["--user=nobody", "--", "sbatch", "--wrap=id --parsable"],
        ["--user=root", "--", "sbatch", "--parsable"],
        ["--user=daemon", "--", "sbatch", "--parsable"],
        ["--user=nobody", "--", "scancel", "--user=nobody"],
        ["--user=nobody", "--", "scancel", "7", "8"],
        ["--user=nobody", "--", "scancel", "7 8"],
        ["--user=nobody", "--", "scancel", "7\n8"],
        ["--user=nobody", "--", "scancel", "--full", "--signal=KILL", "7"],
        ["--user=nobody", "--", "scancel"],
        ["--user=nobody", "--", "sh"],
        ["--user=nobody", "-E", "--", "sbatch", "--parsable"],
        ["--user=nobody", "LD_PRELOAD=x", "--", "sbatch", "--parsable"],
        ["--user=nobody", "--", "/tmp/sbatch", "--parsable"],
    ],
)
def test_sudo_allows_nothing_else(sudo: Any, argv: list[str]) -> None:
    assert sudo(*argv).startswith("refused:")


@SUDO
def test_sudo_allows_what_the_spawner_runs_and_the_token_passes(sudo: Any) -> None:
    prefix = ["--user=nobody", "--"]
    out = sudo(*prefix, *HpcsecSlurmSpawner.batch_submit_cmd.default_value.split()).splitlines()
    assert out[:2] == ["/usr/bin/sbatch --parsable", "nobody"]
    variables = {line.partition("=")[0] for line in out[2:]}
    assert {*JOB_VARIABLES, "SLURM_CONF"} <= variables and "LD_AUDIT_" not in variables
    spawner = HpcsecSlurmSpawner
    for command in (spawner.batch_cancel_cmd, spawner.batch_hard_cancel_cmd, spawner.batch_kill_cmd):
        out = sudo(*prefix, *command.default_value.format(job_id="7").split())
        assert "nobody" in out.splitlines() and "HPCSEC_TOKEN" not in out


def test_sudo_keeps_what_the_spawner_passes() -> None:
    kept = next(line for line in (FILES / "sudoers").read_text().splitlines() if "SUBMIT env_keep" in line)
    passed = {*JOB_VARIABLES, *(name for name in KEEP if not name.startswith(("PBS_", "LSF_", "PATH")))}
    assert passed == set(kept.split('"')[1].split())
