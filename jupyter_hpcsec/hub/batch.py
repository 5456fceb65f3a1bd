"""How batchspawner is loaded: without its HTTP callback, which lets a job set any attribute of its spawner.

``import batchspawner`` appends ``/api/batchspawner`` to JupyterHub's list of handlers; the handler does
``setattr(spawner, key, value)`` for every key that a job posts. What a job reports reaches us through the gateway, in
typed messages, so that the handler is not needed at all. This module is the only place that may import batchspawner,
and it may not change anything of it.
"""

import importlib
import sys
from collections.abc import Iterable, MutableSequence, Sequence
from types import ModuleType
from typing import Any

from jupyter_hpcsec.errors import Refused

CALLBACK_PATH = "/api/batchspawner"
CALLBACK_MODULE = "batchspawner.api"
FIX = "Take `import batchspawner.api` out of jupyterhub_config.py: one hub has hpcsec's spawners or batchspawner's own."


def is_callback(route: Any) -> bool:
    """Whether a tornado route, a tuple or a ``URLSpec``, is batchspawner's callback, by its path or by its handler."""
    if isinstance(route, tuple):
        parts: Sequence[Any] = route
    else:
        parts = (getattr(getattr(route, "regex", None), "pattern", ""), getattr(route, "handler_class", None))
    pattern, handler = (*parts, None, None)[:2]
    return CALLBACK_PATH in str(pattern) or getattr(handler, "__module__", "") == CALLBACK_MODULE


def remove_callback(routes: MutableSequence[Any]) -> None:
    """Take the callback out of a list of routes, in place: JupyterHub holds on to the list itself."""
    routes[:] = [route for route in routes if not is_callback(route)]


def verify_callback_absent(routes: Iterable[Any]) -> None:
    """Refuse to go on with a hub that has the callback mounted.

    Raises ``Refused("spawn.callback-mounted")``, which says how to get rid of it.
    """
    if any(is_callback(route) for route in routes):
        raise Refused("spawn.callback-mounted", f"batchspawner's {CALLBACK_PATH} is mounted in this hub. {FIX}")


def load_batchspawner() -> ModuleType:
    """batchspawner, imported so that its callback is not mounted; an earlier import is undone.

    1. Put an empty module in the place of ``batchspawner.api`` before the package imports it.
    2. Import the package.
    3. Take the route out of the list, for the case that somebody had imported the real one earlier.
    4. Verify.
    5. Take the empty module away: JupyterHub imports every spawner that is installed, ours also where it is not used.
       A hub with plain batchspawner says ``import batchspawner.api`` in its configuration, and has the callback back.
    """
    stand_in = sys.modules.setdefault(CALLBACK_MODULE, ModuleType(CALLBACK_MODULE))
    module = importlib.import_module("batchspawner")
    handlers = importlib.import_module("jupyterhub.apihandlers").default_handlers
    remove_callback(handlers)
    verify_callback_absent(handlers)
    if getattr(stand_in, "__spec__", None) is None:
        del sys.modules[CALLBACK_MODULE]
        vars(module).pop("api", None)
    return module


def verify_hub(settings: dict[str, Any]) -> None:
    """The same for a running hub: its application's own handlers, from ``user.settings``. Called at every start of a
    server.

    A hub without an ``app`` in its settings is a test's stand-in; only the list of handlers can be looked at then.
    """
    app = settings.get("app")
    if app is not None:
        verify_callback_absent(getattr(app, "handlers", ()))
    verify_callback_absent(importlib.import_module("jupyterhub.apihandlers").default_handlers)


batchspawner = load_batchspawner()
