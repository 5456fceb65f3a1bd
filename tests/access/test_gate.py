"""The policy asked about files: by where a path leads, with a sentence for people, and with no way around by links."""

import contextlib
import errno
import os
import threading
from pathlib import Path

import msgspec
import pytest

from jupyter_hpcsec.access.gate import ACCESS_VARIABLE, FILE_LIMIT, Gate, delivered, parse_rules
from jupyter_hpcsec.access.openat2 import open_resolved
from jupyter_hpcsec.access.prefixes import is_below
from jupyter_hpcsec.access.values import Right
from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from tests.server.realserver import rules


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """``home`` may be written but for ``home/secret``; ``data`` may be read; nothing is said of ``other``."""
    for name in ("home/secret", "home/kept", "data", "other"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("home/file", "home/secret/file", "home/kept/file", "data/file", "other/file"):
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.fixture
def gate(place: Path) -> Gate:
    given = [(place / "home/secret", Right.NONE), (place / "data", Right.READ), (place / "home/kept", Right.READ)]
    return Gate.of(rules(place / "home", *given))


@pytest.mark.parametrize(
    ("name", "right", "rule", "words"),
    [
        ("home/secret/file", Right.READ, "access.denied", "rule 2 of the access policy (line 20, for *)"),
        ("home/secret", Right.READ, "access.denied", "closed to you"),
        ("home/secret/not-there", Right.WRITE, "access.denied", "closed to you"),
        ("data/file", Right.WRITE, "access.read-only", "may be read but not changed: rule 3"),
        ("other/file", Right.READ, "access.nothing", "No rule of the access policy allows"),
        ("home-secret", Right.READ, "access.nothing", "Ask data@example.org for access."),
        ("Home/file", Right.READ, "access.nothing", ""),
    ],
)
def test_what_the_rules_do_not_give_is_refused_with_the_rule_and_whom_to_ask(
    gate: Gate, place: Path, name: str, right: Right, rule: str, words: str
) -> None:
    with pytest.raises(Refused) as refused:
        gate.require(str(place / name), right, shown=name)
    assert refused.value.rule == rule
    assert words in refused.value.reason
    assert str(place) not in refused.value.reason, "a path as its user calls it"
    assert not gate.may(str(place / name), right)


def test_a_link_is_decided_on_by_where_it_leads(gate: Gate, place: Path) -> None:
    (place / "home/out").symlink_to(place / "other/file")
    (place / "home/in").symlink_to(place / "home/secret")
    (place / "home/data").symlink_to(place / "data")
    for name in ("home/out", "home/in", "home/in/file", "home/data/../other/file"):
        with pytest.raises(Refused):
            gate.open(str(place / name), os.O_RDONLY)
    with pytest.raises(Refused, match="may be read"):
        gate.open(str(place / "home/data/new"), os.O_WRONLY | os.O_CREAT)
    os.close(gate.open(str(place / "home/data/file"), os.O_RDONLY))


def test_a_rule_that_names_a_link_means_where_it_leads(place: Path) -> None:
    (place / "h").symlink_to("home")
    gate = Gate.of(rules(place / "h", (place / "h/secret", Right.NONE)))
    assert gate.may(str(place / "h/file"), Right.WRITE) and gate.may(str(place / "home/file"), Right.WRITE)
    for name in ("h/secret/file", "home/secret/file"):
        assert not gate.may(str(place / name), Right.READ), name


def test_what_may_not_be_changed_whole_may_not_be_moved(gate: Gate, place: Path) -> None:
    for name in ("home", "home/secret", "home/kept", "data/file", "other"):
        with pytest.raises(Refused):
            gate.require_whole(str(place / name))
    (place / "home/link").symlink_to(place / "other")
    assert gate.require_whole(str(place / "home/link")) == str(place / "home/link"), "the link itself is the user's"
    assert gate.require_whole(str(place / "home/file")) == str(place / "home/file")


def test_what_is_no_regular_file_is_not_opened_as_one(gate: Gate, place: Path) -> None:
    os.mkfifo(place / "home/fifo")
    for name in ("home/fifo", "home"):
        with pytest.raises(OSError, match="not a regular file"):
            gate.open_regular(str(place / name), os.O_RDONLY)
    with pytest.raises(FileNotFoundError):
        gate.open_regular(str(place / "home/none"), os.O_RDONLY)


def test_a_link_put_on_the_way_after_the_decision_is_refused(gate: Gate, place: Path) -> None:
    (place / "home/way").symlink_to(place / "other")
    with pytest.raises(OSError, match="symbolic links") as error:
        open_resolved(str(place / "home/way/file"), os.O_RDONLY)
    assert error.value.errno == errno.ELOOP
    with pytest.raises(Refused, match="changed while it was opened"):
        gate.hold(str(place / "home/way"))
    with pytest.raises(AssertionError, match="BUG"):
        open_resolved("relative", os.O_RDONLY)


def test_a_directory_swapped_for_a_link_in_a_loop_never_wins(gate: Gate, place: Path) -> None:
    way, aside = place / "home/way", place / "home/aside"
    way.mkdir()
    (way / "file").write_text("mine")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            way.rename(aside)
            way.symlink_to(place / "home/secret")
            way.unlink()
            aside.rename(way)

    swapper = threading.Thread(target=swap)
    swapper.start()
    outcomes = set()
    try:
        for _ in range(3000):
            with contextlib.suppress(FileNotFoundError):
                try:
                    descriptor = gate.open(str(way / "file"), os.O_RDONLY)
                except Refused as error:
                    outcomes.add(error.rule)
                    continue
                outcomes.add(os.read(descriptor, 100).decode())
                os.close(descriptor)
    finally:
        stop.set()
        swapper.join()
    assert "mine" in outcomes
    assert outcomes <= {"mine", "access.denied", "access.changed"}


def test_a_place_passed_on_the_way_shows_only_what_leads_on(gate: Gate, place: Path) -> None:
    assert gate.leads_on(str(place))
    assert gate.names_on(str(place)) == ["data", "home"]
    for name in ("home", "home/secret", "other", "data"):
        assert not gate.leads_on(str(place / name))


def test_the_sessions_own_places(place: Path) -> None:
    private, scratch = str(place / "other"), str(place / "other/t")
    gate = Gate.of(rules(place / "home", (place / "other/t/no", Right.NONE)), scratch=(scratch,), closed=(private,))
    for name in ("file", "x", "t/no", "t/no/x"):
        assert gate.decide(f"{private}/{name}").is_denied, name
    assert gate.decide(f"{scratch}/x").right is Right.WRITE


def test_without_access_control_everything_is_open_but_the_sessions_own_places(place: Path) -> None:
    gate = Gate.of(rules(Path("/")), closed=(str(place / "home"),))
    assert gate.decide(str(place / "home/file")).is_denied
    assert gate.decide(str(place / "other")).right is Right.WRITE
    assert gate.decide("/").right is Right.WRITE


def test_places_are_compared_by_whole_names() -> None:
    assert not is_below("/data/x-secret", "/data/x")
    assert not is_below("/data", "/data/x")
    assert is_below("/data/x", "/data/x") and is_below("/data/x/y", "/data/x") and is_below("/data", "/")


def test_rules_that_can_not_be_had_are_an_error(tmp_path: Path) -> None:
    assert delivered({}) is None
    with pytest.raises(Unavailable, match="No such file"):
        delivered({ACCESS_VARIABLE: str(tmp_path / "none")})
    for content in (b"", b"{}", b"[]", b'{"rules": {}}', b"\xff", b"[" * 100_000, b"x" * (FILE_LIMIT + 1)):
        with pytest.raises(Malformed):
            parse_rules(content)


def test_rules_are_read_and_their_own_directory_is_closed(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/access.json").write_bytes(msgspec.json.encode({"rules": rules(tmp_path), "receipt": {"abi": 7}}))
    gate = delivered({ACCESS_VARIABLE: str(tmp_path / "p/access.json")})
    assert gate is not None
    assert gate.decide(str(tmp_path / "x")).right is Right.WRITE
    assert gate.decide(str(tmp_path / "p/access.json")).is_denied
