"""What a quickstart consists of: paths, addresses and configuration files, worked out from a few values.

Pure: it touches no file. Every configuration value is written as a Python literal, so that none can become code.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyter_hpcsec.hub import consoleroles
from jupyter_hpcsec.hub.pages import TEMPLATES
from jupyter_hpcsec.ops.ports import LOOPBACK

DROPPED = (
    "XDG_",
    "JUPYTER",
    "JPY_",
    "HPCSEC_",
    "CONFIGPROXY_",
    "PYTHON",
    "IPYTHON",
    "MPL",
    "VIRTUAL_ENV",
    "SLURM_",
    "TMPDIR",
)
"""Beginnings of names that would let the caller's surroundings steer the demo, or its state out of its directory."""

OWN_DIRECTORIES = {"HOME": "home", "TMPDIR": "tmp", "HPCSEC_LOCALJOB_DIR": "jobs"}
"""Variables that name a place for files, and the directory below the state that each gets."""

AUDITOR = "auditor"
"""The second person of the demo, who looks after security; has no server."""

Config = dict[str, dict[str, Any]]
Literal = str | int | float | bool | None | list[Any] | dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """One quickstart. ``state`` is a fresh directory of mode 0700 with a short, lower-case path."""

    state: Path
    user: str
    proxy_command: tuple[str, ...]
    public_port: int
    proxy_api_port: int
    console_port: int
    gateway: str
    programs: str
    """The directory of this environment's programs."""
    attestors: tuple[str, ...]
    spawner: str
    spawner_settings: Config = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    """What the site's commands need in their environment."""

    @property
    def url(self) -> str:
        """What the browser opens."""
        return f"http://{LOOPBACK}:{self.public_port}"

    @property
    def code_file(self) -> Path:
        """The current one-time code."""
        return self.state / "hub" / "login"

    @property
    def auditor_code_file(self) -> Path:
        """The current one-time code of the person who looks after security."""
        return self.state / "hub" / "login-auditor"

    @property
    def console_config_file(self) -> Path:
        """The security console's configuration."""
        return self.state / "gateway" / "console.py"

    @property
    def policy_file(self) -> Path:
        """The access policy."""
        return self.state / "gateway" / "policy.yaml"

    @property
    def record(self) -> Path:
        """The audit record."""
        return self.state / "gateway" / "audit"

    @property
    def hub_socket(self) -> Path:
        """The hub listens here, not on a port: other users of this computer have nothing to connect to."""
        return self.state / "hub" / "hub.sock"

    @property
    def hub_socket_url(self) -> str:
        """As JupyterHub 6 spells it."""
        return "http+unix://" + quote(str(self.hub_socket), safe="")

    @property
    def admin_socket(self) -> Path:
        """The gateway's admin API."""
        return self.admin_socket_in(self.state)

    @staticmethod
    def admin_socket_in(state: Path) -> Path:
        """The gateway's admin API."""
        return state / "run" / "admin.sock"

    @property
    def directories(self) -> tuple[Path, ...]:
        """To be made, mode 0700."""
        return tuple(self.state / name for name in ("hub", "gateway", "run", "log", *OWN_DIRECTORIES.values()))

    def hub_config(self) -> Config:
        """JupyterHub's configuration, class by class."""
        return {
            "JupyterHub": {
                "bind_url": self.url,
                "hub_bind_url": self.hub_socket_url,
                "db_url": f"sqlite:///{self.state}/hub/jupyterhub.sqlite",
                "cookie_secret_file": f"{self.state}/hub/cookie_secret",
                "authenticator_class": "jupyter_hpcsec.hub.onetime.OneTimeAuthenticator",
                "spawner_class": self.spawner,
                "template_paths": [TEMPLATES],
                "cleanup_servers": True,
                "cleanup_proxy": True,
                "custom_scopes": consoleroles.CUSTOM_SCOPES,
                "load_roles": consoleroles.roles(security_staff=[AUDITOR], project_office=[AUDITOR]),
                "services": [consoleroles.service(self.console_url, command=list(self.console_command))],
            },
            "ConfigurableHTTPProxy": {
                "api_url": f"http://{LOOPBACK}:{self.proxy_api_port}",
                "command": list(self.proxy_command),
                "pid_file": f"{self.state}/hub/proxy.pid",
            },
            "OneTimeAuthenticator": {
                "username": self.user,
                "code_file": str(self.code_file),
                "others": {AUDITOR: str(self.auditor_code_file)},
            },
            **self.spawner_settings,
        }

    def gateway_config(self) -> Config:
        """The gateway's."""
        return {
            "HpcsecGateway": {
                "listen": [self.gateway],
                "public_endpoints": [self.gateway],
                "state_directory": f"{self.state}/gateway",
                "run_directory": f"{self.state}/run",
                "hub_api_url": self.hub_socket_url + "/hub/api",
                "attestors": list(self.attestors),
                "unsafe_no_attestation": "none" in self.attestors,
                "policy_file": str(self.policy_file),
                "projects": "required",
                "unsafe_user_owned_code": "none" in self.attestors,  # it is whoever's who tries it
            }
        }

    @property
    def console_url(self) -> str:
        """Where the proxy finds the security console."""
        return f"http://{LOOPBACK}:{self.console_port}"

    @property
    def console_command(self) -> tuple[str, ...]:
        """What the hub starts as its service."""
        module = ("-I", "-m", "jupyter_hpcsec.cli.main")
        return (f"{self.programs}/python3", *module, "console", "--config", str(self.console_config_file))

    def console_config(self) -> Config:
        """The security console's."""
        return {
            "HpcsecConsole": {
                "listen": f"{LOOPBACK}:{self.console_port}",
                "hub_api_url": self.hub_socket_url + "/hub/api",
                "admin_socket": str(self.admin_socket),
                "audit_directory": str(self.record),
                "hosts": [LOOPBACK],
            }
        }

    def environment(self, caller: Mapping[str, str]) -> dict[str, str]:
        """The caller's environment without what would steer the demo; home and temporary files are the demo's own."""
        kept = {name: value for name, value in caller.items() if not name.startswith(DROPPED)}
        kept["PATH"] = os.pathsep.join([self.programs, kept.get("PATH", os.defpath)])
        own = {name: str(self.state / where) for name, where in OWN_DIRECTORIES.items()}
        return kept | own | dict(self.variables)


def render(config: Mapping[str, Mapping[str, Literal]]) -> str:
    """A traitlets configuration file; every value is a literal of Python."""
    lines = ["c = get_config()  # noqa: F821 - traitlets gives it"]
    for section, traits in config.items():
        lines += [f"c.{section}.{name} = {value!r}" for name, value in traits.items()]
    return "\n".join(lines) + "\n"
