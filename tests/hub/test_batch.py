import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from tornado.web import RequestHandler, URLSpec

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.hub.batch import is_callback, remove_callback, verify_callback_absent, verify_hub

MOUNTED = "print('mounted' if any('batchspawner' in h[0] for h in default_handlers) else 'absent')"
HANDLERS = "from jupyterhub.apihandlers import default_handlers"


class Callback(RequestHandler):
    """Stands in for batchspawner's handler under a path that somebody chose."""


Callback.__module__ = "batchspawner.api"


class Other(RequestHandler):
    """Any other handler."""


def in_a_new_process(*lines: str) -> str:
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_batchspawner_mounts_its_callback() -> None:
    assert in_a_new_process("import batchspawner", HANDLERS, MOUNTED) == "mounted"


@pytest.mark.parametrize(
    "imports",
    [
        ["import jupyter_hpcsec.hub.spawner"],
        ["import batchspawner", "import jupyter_hpcsec.hub.spawner"],
        ["import jupyter_hpcsec.hub.spawner", "import batchspawner"],
        ["from batchspawner import SlurmSpawner", "from jupyter_hpcsec.hub.spawner import HpcsecSlurmSpawner"],
        ["import batchspawner.api", "import jupyter_hpcsec.hub.batch as b", "b.load_batchspawner()"],
        ["import jupyter_hpcsec.hub.batch as b", "b.load_batchspawner()", "b.load_batchspawner()"],
    ],
)
def test_ours_does_not_whoever_comes_first(imports: list[str]) -> None:
    assert in_a_new_process(*imports, HANDLERS, MOUNTED) == "absent"


def test_one_module_and_one_class_whoever_comes_first() -> None:
    lines = ["from jupyter_hpcsec.hub.spawner import HpcsecSlurmSpawner", "import batchspawner"]
    assert in_a_new_process(*lines, "print(issubclass(HpcsecSlurmSpawner, batchspawner.SlurmSpawner))") == "True"


def test_a_hub_with_plain_batchspawner_can_have_it_back_and_then_starts_nothing_of_ours() -> None:
    lines = ["import jupyter_hpcsec.hub.spawner", "import batchspawner.api", HANDLERS, MOUNTED]
    assert in_a_new_process(*lines) == "mounted"
    refused = [
        "from jupyter_hpcsec.hub.batch import verify_hub",
        "try: verify_hub({})",
        "except Exception as e: print(e)",
    ]
    assert "spawn.callback-mounted" in in_a_new_process(*lines[:2], *refused)


@pytest.mark.parametrize(
    "route",
    [
        ("/api/batchspawner", Other),
        ("/hub/api/batchspawner", Other, {}),
        ("/elsewhere", Callback),
        URLSpec(r"/hub/api/batchspawner", Other),
        URLSpec(r"/elsewhere", Callback),
    ],
)
def test_the_callback_is_known_by_path_and_by_handler(route: Any) -> None:
    assert is_callback(route)
    routes = [("/api/users", Other), route]
    with pytest.raises(Refused, match=r"batchspawner\.api"):
        verify_callback_absent(routes)
    with pytest.raises(Refused):
        verify_hub({"app": SimpleNamespace(handlers=routes)})
    remove_callback(routes)
    verify_callback_absent(routes)
    verify_hub({"app": SimpleNamespace(handlers=routes)})
    assert routes == [("/api/users", Other)]


@pytest.mark.parametrize("route", [("/api/users", Other), ("/x",), (), URLSpec("/api/users", Other), object()])
def test_other_routes_are_left_alone(route: Any) -> None:
    assert not is_callback(route)
