"""Puts our parts into a server before it is configured, over whatever a user's configuration says, and says so."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_hpcsec.access import nested
from jupyter_hpcsec.access.gate import Gate, delivered
from jupyter_hpcsec.access.values import ACCESS_VARIABLE
from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.server import provisioner
from jupyter_hpcsec.server.apps.hints import give_hints
from jupyter_hpcsec.server.kernels import keep_kernels_local

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

CANNOT_START = 78
"""EX_CONFIG of sysexits(3)."""

RULES_LIMIT_S = 10.0
"""Seconds. The agent writes the rules as soon as the server's sandbox is on, while this Python still starts."""


def link(app: "ServerApp") -> None:
    """Nothing of it is in use yet, so that the order does not matter. Without its rules the server ends."""
    for name in keep_kernels_local(app.config):
        app.log.warning("hpcsec: %s is not used: in a session kernels are reached by sockets in a private place", name)
    try:
        gate = wait_for_rules(os.environ)
    except HpcsecError as error:
        app.log.critical("hpcsec: %s", error.reason)
        app.exit(CANNOT_START)
        raise AssertionError("BUG: exit returned") from error
    give_hints(os.environ, os.environ.get("JUPYTERHUB_SERVICE_PREFIX") or app.base_url)
    if not nested.version():
        app.log.warning(
            "hpcsec: this node has no Landlock: kernels and terminals are not kept from this server's secrets"
        )
    provisioner.install(app, gate)
    _use_terminals(app)
    if gate is not None:
        _use_contents(app)


def wait_for_rules(
    environment: Mapping[str, str],
    *,
    limit_s: float = RULES_LIMIT_S,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Gate | None:
    """The session's gate; None where no rules are delivered."""
    end = clock() + limit_s
    while (path := environment.get(ACCESS_VARIABLE)) and not Path(path).exists() and clock() < end:
        sleep(0.05)
    return delivered(environment)


def _use_contents(app: "ServerApp") -> None:
    from jupyter_hpcsec.access.contents import HpcsecContentsManager  # noqa: PLC0415 - only with rules

    chosen = app.contents_manager_class
    if not issubclass(chosen, HpcsecContentsManager):
        if "contents_manager_class" in app.config.ServerApp:
            app.log.warning("hpcsec: %s is not used: in a session files are read and written by its rules", chosen)
        app.config.ServerApp.contents_manager_class = HpcsecContentsManager
        app.contents_manager_class = HpcsecContentsManager


def _use_terminals(app: "ServerApp") -> None:
    from jupyter_hpcsec.server.terminals import HpcsecTerminalManager  # noqa: PLC0415 - imports with a cost

    app.config.TerminalsExtensionApp.terminal_manager_class = HpcsecTerminalManager
