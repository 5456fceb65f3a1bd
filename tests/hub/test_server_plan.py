"""What is started: checked as it comes over the tunnel, on sockets only, with nothing of ours left in it."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.access.values import Bind
from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.gpu.launch import VARIABLE as GPU_VARIABLE
from jupyter_hpcsec.hub.runtime_directory import RuntimeDirectory
from jupyter_hpcsec.hub.server_plan import (
    SESSION_VARIABLE,
    parse_launch,
    program,
    server_arguments,
    server_environment,
)
from jupyter_hpcsec.server import facts
from tests.hub.standin import access_of

GOOD: dict[str, Any] = {
    "argv": ["jupyterhub-singleuser", "--x"],
    "env": {"A": "1"},
    "base_url": "/user/alice/",
    "access": access_of(),
}
DIRECTORY = RuntimeDirectory(Path("/tmp/hpcsec-ab"))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"argv": None}, "argv"), ({"argv": []}, "argv"), ({"argv": "sh"}, "argv"), ({"argv": [""]}, "argv"),
        ({"argv": ["a", 1]}, "argv"), ({"argv": ["a\0b"]}, "argv"), ({"argv": ["a"] * 300}, "argv"),
        ({"argv": ["a" * 200_000]}, "argv"),
        ({"env": None}, "env"), ({"env": []}, "env"), ({"env": {"A": 1}}, "'A'"), ({"env": {"A": "\0"}}, "'A'"),
        ({"env": {"A=B": "1"}}, "A=B"), ({"env": {"": "1"}}, "''"), ({"env": {"HPCSEC_TOKEN": "1"}}, "HPCSEC_TOKEN"),
        ({"env": {f"A{i}": "" for i in range(600)}}, "env"),
        ({"base_url": None}, "base_url"), ({"base_url": "user/"}, "base_url"), ({"base_url": "/user"}, "base_url"),
        ({"base_url": "/a b/"}, "base_url"), ({"base_url": "/a\r\nX: y/"}, "base_url"),
        ({"base_url": "//"}, "base_url"),
        ({"access": None}, "access"), ({"access": {}}, "access"), ({"access": "all"}, "access"),
        ({"access": {**access_of(), "sudo": True}}, "access"),
        ({"access": {**access_of(), "entries": [{"path": "x"}]}}, "access"),
        ({"recording": []}, "recording"), ({"recording": {"level": 1}}, "recording"),
        ({"recording": {"level": "x" * 65}}, "recording"), ({"recording": {"more": "x"}}, "recording"),
        ({"sudo": True}, "unknown field 'sudo'"),
    ],
)  # fmt: skip
def test_a_launch_of_another_form_is_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(Malformed, match=match):
        parse_launch({**GOOD, **change})


def test_a_launch_is_read() -> None:
    launch = parse_launch(GOOD)
    assert launch.argv == ("jupyterhub-singleuser", "--x")
    assert parse_launch({**GOOD, "recording": {"level": "l", "text": "t"}}).recording == {"level": "l", "text": "t"}
    assert launch.recording == {}
    assert launch.access.network.bind is Bind.NONE and launch.access.subject.user == "alice"


def test_a_launch_without_rules_is_none() -> None:
    with pytest.raises(Malformed, match="access"):
        parse_launch({name: value for name, value in GOOD.items() if name != "access"})


@given(st.dictionaries(st.sampled_from(["argv", "env", "base_url", "access"]), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3))))  # fmt: skip
def test_nothing_but_a_refusal_comes_of_nonsense(launch: dict[str, Any]) -> None:
    try:
        parsed = parse_launch(launch)
    except Malformed:
        return
    assert parsed.argv[0]
    assert parsed.base_url.startswith("/")


def test_our_arguments_come_last_and_put_everything_on_sockets() -> None:
    arguments = server_arguments(parse_launch(GOOD), DIRECTORY, is_root=False)
    assert arguments[:2] == ["jupyterhub-singleuser", "--x"]
    assert "--ServerApp.sock=/tmp/hpcsec-ab/server.sock" in arguments
    assert "--ServerApp.sock_mode=0600" in arguments
    assert "--KernelManager.transport=ipc" in arguments
    assert "--KernelProvisionerFactory.default_provisioner_name=hpcsec-provisioner" in arguments
    assert "--allow-root" not in arguments
    assert "--allow-root" in server_arguments(parse_launch(GOOD), DIRECTORY, is_root=True)


def test_the_hub_is_reached_by_a_socket_and_keeps_its_path() -> None:
    env = {
        "JUPYTERHUB_API_URL": "http://10.0.0.1:8081/jupyter/hub/api",
        "JUPYTERHUB_ACTIVITY_URL": "https://hub/jupyter/hub/api/users/al%40x/activity",
        "JUPYTERHUB_HOST": "https://hub.example.org",
        "PATH": "/site/bin",
    }
    base = {"PATH": "/usr/bin", "HOME": "/home/alice", "JUPYTER_PORT": "9999", "HPCSEC_TOKEN": "secret"}
    found = server_environment(base, parse_launch({**GOOD, "env": env}), DIRECTORY)
    hub = "http+unix://%2Ftmp%2Fhpcsec-ab%2Fhub.sock"
    assert found["JUPYTERHUB_API_URL"] == f"{hub}/jupyter/hub/api"
    assert found["JUPYTERHUB_ACTIVITY_URL"] == f"{hub}/jupyter/hub/api/users/al%40x/activity"
    assert found["JUPYTERHUB_HOST"] == "https://hub.example.org"
    assert found["JUPYTERHUB_SERVICE_URL"] == "http+unix://%2Ftmp%2Fhpcsec-ab%2Fserver.sock/user/alice/"
    assert found["JUPYTER_RUNTIME_DIR"] == "/tmp/hpcsec-ab/j"
    assert (found["PATH"], found["HOME"]) == ("/site/bin", "/home/alice")
    assert not [name for name in found if name.startswith("HPCSEC_") or name == "JUPYTER_PORT"]


def test_a_hub_url_that_is_none_is_refused() -> None:
    launch = parse_launch({**GOOD, "env": {"JUPYTERHUB_API_URL": "http://hub/a b"}})
    with pytest.raises(Malformed, match="Hub URL"):
        server_environment({}, launch, DIRECTORY)


def test_the_extension_is_found_first_and_told_where_its_facts_are() -> None:
    sites = {"JUPYTER_CONFIG_PATH": "/site/jupyter", "JUPYTER_PATH": "/site/share"}
    found = server_environment(sites, parse_launch(GOOD), DIRECTORY)
    ours, site = found["JUPYTER_PATH"].split(":")
    assert (Path(ours) / "labextensions" / "jupyter-hpcsec" / "package.json").is_file(), "not built: pip install -e ."
    assert site == "/site/share"
    ours, site = found["JUPYTER_CONFIG_PATH"].split(":")
    assert (Path(ours) / "jupyter_server_config.d" / "jupyter_hpcsec.json").is_file()
    assert site == "/site/jupyter"
    assert SESSION_VARIABLE == facts.SESSION_VARIABLE, "hub and server do not import each other"
    assert found[SESSION_VARIABLE] == "/tmp/hpcsec-ab/session.json"


def test_a_program_is_found_on_the_path_or_beside_this_python(tmp_path: Path) -> None:
    on_path, beside = tmp_path / "a", tmp_path / "b"
    for directory, name in ((on_path, "one"), (beside, "one"), (beside, "two")):
        directory.mkdir(exist_ok=True)
        (directory / name).touch(mode=0o755)
    assert program("one", str(on_path), beside) == str(on_path / "one")
    assert program("two", str(on_path), beside) == str(beside / "two")
    assert program("three", str(on_path), beside) == "three"
    assert program("/opt/x", str(on_path), beside) == "/opt/x"


def test_the_gpu_watch_s_settings_come_with_the_launch_alone() -> None:
    base = {GPU_VARIABLE: '{"stand_in": "/home/eve/liar.so"}'}
    assert GPU_VARIABLE not in server_environment(base, parse_launch(GOOD), DIRECTORY)
    site = parse_launch({**GOOD, "env": {GPU_VARIABLE: "{}"}})
    assert server_environment(base, site, DIRECTORY)[GPU_VARIABLE] == "{}"
