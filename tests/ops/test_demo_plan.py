"""The demo's configuration: nothing can become code, nothing leaves the state directory, nothing listens elsewhere."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traitlets.config import PyFileConfigLoader

from jupyter_hpcsec.ops.demo_plan import Plan, render


def plan(**changes: Any) -> Plan:
    values: dict[str, Any] = {
        "state": Path("/tmp/hpcsec-x"),
        "user": "ada",
        "proxy_command": ("/p/chp",),
        "public_port": 8000,
        "proxy_api_port": 8001,
        "console_port": 8002,
        "gateway": "127.0.0.1:8443",
        "programs": "/venv/bin",
        "attestors": ("none",),
        "spawner": "simple",
    }
    return Plan(**(values | changes))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_any_value_stays_a_value(value: Any) -> None:
    text = render({"Section": {"trait": value}})
    tree = ast.parse(text)
    assert len(tree.body) == 2
    assigned = tree.body[1]
    assert isinstance(assigned, ast.Assign) and ast.literal_eval(assigned.value) == value


def test_a_user_name_that_looks_like_code_is_text(tmp_path: Path) -> None:
    name = "x'\nimport os; os.abort() #"
    (tmp_path / "config.py").write_text(render(plan(user=name).hub_config()))
    config = PyFileConfigLoader("config.py", str(tmp_path)).load_config()
    assert config.OneTimeAuthenticator.username == name


def test_only_the_loopback_address_is_listened_on() -> None:
    one = plan()
    text = render(one.hub_config()) + render(one.gateway_config())
    addresses = set(re.findall(r"\d+\.\d+\.\d+\.\d+", text))
    assert addresses == {"127.0.0.1"} and "::" not in text
    assert one.hub_config()["JupyterHub"]["hub_bind_url"].startswith("http+unix://%2Ftmp%2Fhpcsec-x%2F")


@pytest.mark.parametrize(("attestors", "unsafe"), [(("none",), True), (("scheduler", "munge"), False)])
def test_no_attestation_is_said_only_where_there_is_none(attestors: tuple[str, ...], unsafe: bool) -> None:
    gateway = plan(attestors=attestors).gateway_config()["HpcsecGateway"]
    assert gateway["unsafe_user_owned_code"] is unsafe
    assert gateway["unsafe_no_attestation"] is unsafe and gateway["attestors"] == list(attestors)


@pytest.mark.parametrize(
    "name",
    [
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "JUPYTERHUB_API_TOKEN",
        "JUPYTER_CONFIG_DIR",
        "XDG_RUNTIME_DIR",
        "HPCSEC_TOKEN",
        "TMPDIR",
    ],
)
def test_the_callers_surroundings_do_not_steer_the_demo(name: str) -> None:
    environment = plan().environment({name: "/elsewhere", "PATH": "/usr/bin", "HOME": "/home/ada", "LANG": "C.UTF-8"})
    assert "/elsewhere" not in environment.values()
    assert environment["LANG"] == "C.UTF-8"
    assert environment["HOME"].startswith("/tmp/hpcsec-x/") and environment["TMPDIR"].startswith("/tmp/hpcsec-x/")
    assert environment["PATH"] == "/venv/bin:/usr/bin"


def test_socket_paths_fit() -> None:
    one = plan(state=Path("/" + "x" * 39 + "/hpcsec-12345678"))
    assert len(str(one.hub_socket)) <= 107 and len(str(one.admin_socket)) <= 107
    assert len(f"{one.state}/run") <= 60
