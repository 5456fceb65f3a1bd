"""The imports of the package point one way (docs/architecture.md); this walks them and fails on one that points up."""

import ast
from pathlib import Path

import pytest

import jupyter_hpcsec

ROOT = Path(jupyter_hpcsec.__file__).parent
CAPABILITIES = {"identity", "tunnel", "access", "gpu", "audit", "projects"}
SETTINGS = {"config", "config_console", "config_forward", "config_projects", "config_recording", "config_values"}
BASE = {"errors", "_version", "events"} | SETTINGS
TYPED_EVENTS = ("jupyter_hpcsec.audit.events", "jupyter_hpcsec.audit.kinds")
"""What every package may make: values. The record that keeps them is nobody's to import but the layers above."""

MAY_IMPORT: dict[str, set[str]] = {
    "cli": {"console", "ops", "hub", "server"} | CAPABILITIES | BASE,
    "console": {"ops", "hub", "server"} | CAPABILITIES | BASE,
    "ops": {"hub", "server"} | CAPABILITIES | BASE,
    "hub": CAPABILITIES | BASE,
    "server": CAPABILITIES | BASE,
    "config": {"config_projects", "config_recording", "config_values", "errors", "_version"},
    "config_values": {"config_projects", "config_recording"},
    "config_projects": set(),
    "config_recording": {"errors"},
    "config_console": {"config", "errors", "_version"},
    "config_forward": {"config", "errors", "_version"},
    "errors": set(),
    "_version": set(),
    "__init__": {"_version"},
} | {name: set(BASE) for name in CAPABILITIES}


def part_of(module: str) -> str:
    """``jupyter_hpcsec.tunnel.frames`` -> ``tunnel``; the package itself has only its version to give."""
    if module in TYPED_EVENTS or module.startswith("jupyter_hpcsec.audit.kinds."):
        return "events"
    names = module.split(".")
    return names[1] if len(names) > 1 else "_version"


def imports_of(path: Path, root: Path = ROOT) -> set[str]:
    """The parts of the package that one file imports, wherever in the file the import stands."""
    found = set()
    package = ["jupyter_hpcsec", *path.relative_to(root).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {part_of(alias.name) for alias in node.names if alias.name.split(".")[0] == "jupyter_hpcsec"}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module == "jupyter_hpcsec":
                found |= {alias.name if alias.name != "__version__" else "_version" for alias in node.names}
            elif module.startswith("jupyter_hpcsec."):
                found.add(part_of(module))
    return found


def own_part(path: Path, root: Path = ROOT) -> str:
    relative = path.relative_to(root)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_arrow_points_up(path: Path) -> None:
    own = own_part(path)
    assert own in MAY_IMPORT, f"{own} has no place in the order; give it one in MAY_IMPORT"
    wrong = imports_of(path) - MAY_IMPORT[own] - {own}
    assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}, which stand above or beside {own}"


@pytest.mark.parametrize(
    "line",
    [
        "import jupyter_hpcsec.hub.spawner",
        "from jupyter_hpcsec import hub",
        "from jupyter_hpcsec.hub import spawner",
        "from ..hub import spawner",
        "from .. import hub",
        "def f():\n    from jupyter_hpcsec.hub.spawner import X",
    ],
)
def test_an_arrow_that_points_up_is_seen(tmp_path: Path, line: str) -> None:
    (tmp_path / "tunnel").mkdir()
    bad = tmp_path / "tunnel" / "bad.py"
    bad.write_text(line)
    assert "hub" in imports_of(bad, tmp_path) - MAY_IMPORT["tunnel"]
