"""Targets: what options name is taken at its word, what a policy names only when it can be seen."""

import json
import os
from pathlib import Path

import msgspec
import pytest

from jupyter_hpcsec.access.values import (
    Bind,
    Enforcement,
    Entry,
    Network,
    Resolved,
    Right,
    Subject,
)
from jupyter_hpcsec.errors import Malformed, Unavailable
from jupyter_hpcsec.ops.attack.discovery import (
    ACCESS_VARIABLE,
    Options,
    abstract_listener,
    discover,
    find_victims,
    parse_address,
    read_policy,
)
from jupyter_hpcsec.ops.attack.targets import Victim, sort_paths


def entry(path: Path, right: Right) -> Entry:
    return Entry(path=str(path), right=right, rule=1, line=1, who="*")


def resolved(*entries: Entry, network: Network = Network()) -> Resolved:  # noqa: B008 - frozen
    return Resolved(
        subject=Subject(user="alice", uid=1, gid=1, home="/home/alice"),
        policy="0" * 64,
        enforcement=Enforcement.REQUIRED,
        minimum_abi=4,
        network=network,
        entries=entries,
    )


def session(tmp_path: Path, value: Resolved, **receipt: str) -> dict[str, str]:
    facts = {"rules": msgspec.to_builtins(value), "digest": "", "receipt": receipt}
    (tmp_path / "access.json").write_text(json.dumps(facts))
    return {ACCESS_VARIABLE: str(tmp_path / "access.json"), "TMPDIR": str(tmp_path)}


def test_a_denied_path_that_is_not_to_be_seen_is_no_target(tmp_path: Path) -> None:
    value = resolved(entry(tmp_path, Right.WRITE), entry(tmp_path / "absent", Right.NONE))
    targets, _ = discover(Options(), session(tmp_path, value))
    assert targets.denied is None


def test_a_denied_path_that_is_to_be_seen_is_one(tmp_path: Path) -> None:
    (tmp_path / "mask").mkdir()
    denied = [entry(tmp_path / name, Right.NONE) for name in ("absent", "mask")]
    value = resolved(entry(tmp_path, Right.WRITE), *denied)
    targets, _ = discover(Options(), session(tmp_path, value))
    assert targets.denied_dir == tmp_path / "mask"


def test_read_only_targets_are_what_the_policy_leaves_only_to_read(tmp_path: Path) -> None:
    (tmp_path / "ro").mkdir()
    for name in ("ro/a", "ro/b", "bashrc"):
        (tmp_path / name).touch()
    value = resolved(
        entry(tmp_path, Right.WRITE),
        entry(tmp_path / "bashrc", Right.READ),
        entry(tmp_path / "ro", Right.READ),
        entry(tmp_path / "ro/a", Right.WRITE),
    )
    targets, _ = discover(Options(), session(tmp_path, value))
    assert (targets.readonly_file, targets.readonly_dir) == (tmp_path / "ro/b", tmp_path / "ro")


def test_the_sessions_own_server_is_known_by_its_place(tmp_path: Path) -> None:
    facts = {"user": "al ice", "server": "gpu", "session": "", "job": "", "node": "", "ends_at": 0, "endpoints": [],
             "ca_pin": "", "protections": {}}  # fmt: skip
    (tmp_path / "session.json").write_text(json.dumps(facts))
    session(tmp_path, resolved())
    environment = {"JUPYTER_HPCSEC_SESSION": str(tmp_path / "session.json"), "TMPDIR": str(tmp_path)}
    targets, _ = discover(Options(token="t"), environment)
    assert targets.server is not None
    assert targets.server.address == str(tmp_path / "server.sock")
    assert (targets.server.base_url, targets.server.token) == ("/user/al%20ice/gpu/", "t")


def test_an_option_is_taken_at_its_word(tmp_path: Path) -> None:
    targets, _ = discover(Options(denied=[tmp_path / "absent"]), {"TMPDIR": str(tmp_path)})
    assert targets.denied_file == tmp_path / "absent"


def test_rights_of_the_policy(tmp_path: Path) -> None:
    value = resolved(
        entry(tmp_path / "no", Right.NONE), entry(tmp_path / "ro", Right.READ), entry(tmp_path, Right.WRITE)
    )
    found = read_policy(session(tmp_path, value))
    assert (found.denied, found.readonly) == ((tmp_path / "no",), (tmp_path / "ro",))


def test_the_receipt_says_whether_there_are_namespaces(tmp_path: Path) -> None:
    assert read_policy(session(tmp_path, resolved())).mounts
    assert not read_policy(session(tmp_path, resolved(), files="12 roots, the node's root directory")).mounts
    assert read_policy(session(tmp_path, resolved(), files="12 roots, root directory of its own")).mounts


def test_the_file_lies_beside_that_of_the_session(tmp_path: Path) -> None:
    session(tmp_path, resolved(network=Network(bind=Bind.PRIVATE)))
    assert read_policy({"JUPYTER_HPCSEC_SESSION": str(tmp_path / "session.json")}).bind is Bind.PRIVATE


def test_the_port_and_host_follow_the_policy(tmp_path: Path) -> None:
    value = resolved(network=Network(bind=Bind.PRIVATE, connect=(1, 7)))
    targets, conditions = discover(Options(), session(tmp_path, value))
    assert (targets.port, targets.host, conditions.bind) == (9, "192.0.2.1", Bind.PRIVATE)


def test_a_policy_that_can_not_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="can't be read"):
        read_policy({ACCESS_VARIABLE: str(tmp_path / "absent")})
    (tmp_path / "access").write_text("{}")
    with pytest.raises(Malformed, match="not in this version's form"):
        read_policy({ACCESS_VARIABLE: str(tmp_path / "access")})


def test_files_and_directories_are_told_apart_when_neither_is_to_be_seen() -> None:
    assert sort_paths([Path("/x/d"), Path("/x/d/f")]) == (Path("/x/d/f"), Path("/x/d"))
    assert sort_paths([Path("/x/f")]) == (Path("/x/f"), None)


def test_victims_are_found_by_their_command_lines(tmp_path: Path) -> None:
    lines = {
        "7": b"python\0-I\0-m\0jupyter_hpcsec.hub.launch\0",
        "8": b"python\0/v/bin/jupyterhub-singleuser\0",
        "9": b"sh\0",
    }
    for pid, line in lines.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cmdline").write_bytes(line)
    assert find_victims(tmp_path, os.geteuid()) == (Victim(7, "agent"), Victim(8, "server"))
    assert find_victims(tmp_path, os.geteuid() + 1) == ()


def test_a_server_is_known_by_its_record(tmp_path: Path) -> None:
    record = {"sock": "/r/s.sock", "base_url": "/user/a/", "token": "t", "root_dir": "/home/a", "pid": 5}
    (tmp_path / "jpserver-5.json").write_text(json.dumps(record))
    (tmp_path / "jpserver-4.json").write_text("half of it")
    targets, _ = discover(Options(), {"JUPYTER_RUNTIME_DIR": str(tmp_path), "TMPDIR": str(tmp_path)})
    assert targets.server is not None
    assert (targets.server.address, targets.server.token) == ("/r/s.sock", "t")


@pytest.mark.parametrize("text", ["nowhere", "http://host/", "host:port"])
def test_no_server_is_said(text: str) -> None:
    with pytest.raises(Malformed):
        parse_address(text)


def test_addresses() -> None:
    assert parse_address("/r/s.sock") == "/r/s.sock"
    assert parse_address("http://127.0.0.1:8888/user/a/") == ("127.0.0.1", 8888)


def test_an_abstract_listener_is_found_in_the_kernels_table() -> None:
    table = (
        "Num       RefCount Protocol Flags    Type St Inode Path\n"
        "0: 00000003 00000000 00000000 0001 03 1 @connected\n"
        "0: 00000002 00000000 00010000 0001 01 2 /run/path\n"
        "0: 00000002 00000000 00010000 0001 01 3 @listens\n"
    )
    assert abstract_listener(table) == "listens"
    assert abstract_listener("") == ""
