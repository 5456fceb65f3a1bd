"""Puts our parts into a server before it is configured, over whatever a user's configuration says, and says so."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_hpcsec.access import nested
from jupyter_hpcsec.access.gate import Gate, delivered
from jupyter_hpcsec.access.values import ACCESS_VARIABLE
from jupyter_hpcsec.audit.events import Object
from jupyter_hpcsec.audit.kinds.node import NodeAccessRefused
from jupyter_hpcsec.errors import HpcsecError, Refused
from jupyter_hpcsec.server import events, provisioner
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
    if not events.connect():
        app.log.warning("hpcsec: nobody hears what happens in this server: its events are not recorded")
    if gate is not None:
        gate = replace(gate, on_refused=tell_refused)
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


def tell_refused(path: str, error: Refused) -> None:
    """Have it recorded that the user was refused a path."""
    what = Object.of_path(os.fsencode(path))
    events.tell(NodeAccessRefused(object=what, decision="refused", rule=error.rule, reason=error.reason))


def watch_contents(app: "ServerApp") -> None:
    """Once the contents manager is there: what it refuses is told."""
    from jupyter_hpcsec.access.contents import HpcsecContentsManager  # noqa: PLC0415 - only with rules

    manager = app.contents_manager
    if isinstance(manager, HpcsecContentsManager):
        manager.gate = replace(manager.gate, on_refused=tell_refused)


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
