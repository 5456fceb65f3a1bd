"""The canary sees a sandbox that does not hold: here there is none, and it has to say so."""

import os
from pathlib import Path

import pytest

from jupyter_hpcsec.access import canary
from jupyter_hpcsec.access.canary import ALLOWED, REFUSED, FileCanary
from jupyter_hpcsec.access.values import Bind, Enforcement, Mask, Masked, Network, Plan, Right, Root
from jupyter_hpcsec.errors import Unavailable


def plan(roots: dict[Path, Right], masks: dict[Path, Mask] | None = None, *, namespaces: bool = False) -> Plan:
    return Plan(
        user="u", policy="0" * 64, enforcement=Enforcement.REQUIRED, minimum_abi=1, network=Network(),
        roots=tuple(Root(path=str(path), right=right, origin="rule 1") for path, right in roots.items()),
        masks=tuple(Masked(path=str(path), mask=mask, origin="rule 2") for path, mask in (masks or {}).items()),
        namespaces=namespaces,
    )  # fmt: skip


@pytest.mark.parametrize("mask", list(Mask))
def test_a_mask_that_is_none(tmp_path: Path, mask: Mask) -> None:
    checked = FileCanary(plan({tmp_path: Right.WRITE}, {tmp_path / "x": mask}))
    (tmp_path / "x").mkdir()
    with pytest.raises(Unavailable, match=f"does not hold here: mask {tmp_path}/x was allowed, not refused"):
        checked.check()


def test_a_place_outside_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(Unavailable, match=f"files outside {tmp_path}/in was allowed, not refused"):
        FileCanary(plan({tmp_path / "in": Right.WRITE})).check()


def test_a_read_only_place_that_can_be_written(tmp_path: Path) -> None:
    checked = FileCanary(plan({tmp_path: Right.READ}, namespaces=True))
    for kept in checked._kept:
        kept.outside = None
    with pytest.raises(Unavailable, match=f"writing {tmp_path} was allowed, not refused"):
        checked.check()


def test_an_allowed_read_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    checked = FileCanary(plan({tmp_path / "in": Right.READ}))
    (tmp_path / "in").rmdir()
    with pytest.raises(Unavailable, match=r"files .*/in was neither refused nor allowed"):
        checked.check()


def test_where_all_of_a_file_system_is_given_a_copy_of_something_in_it_is_tried(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    given = plan(dict.fromkeys([tmp_path, *tmp_path.parents], Right.READ))
    checked = FileCanary(given)
    assert all(kept.outside is None for kept in checked._kept)
    checked.copy(os.dup)
    assert any(kept.outside is not None for kept in checked._kept)
    with pytest.raises(Unavailable, match=r"files outside .* was allowed"):
        checked.check()


def test_one_root_of_each_file_system_is_tried_and_what_could_not_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    checked = FileCanary(plan({tmp_path / "file": Right.READ, Path("/proc"): Right.READ, tmp_path: Right.READ}))
    assert [kept.root.path for kept in checked._kept] == [str(tmp_path / "file"), "/proc"]
    for kept in checked._kept:
        kept.outside = None
    assert checked.check() == {
        f"canary.files {tmp_path}/file": "a read allowed, none outside of it to try",
        "canary.files /proc": "a read allowed, none outside of it to try",
    }


def test_outcomes() -> None:
    assert (canary.read("/usr"), canary.write("/tmp")) == (ALLOWED, ALLOWED)
    assert canary.read("/nowhere") == "neither refused nor allowed (No such file or directory)"
    assert canary.write("/proc/version") == (REFUSED if os.geteuid() else ALLOWED)


@pytest.mark.parametrize("bind", [Bind.NONE, Bind.UNSAFE_UDP])
def test_sockets_that_are_not_refused(bind: Bind) -> None:
    with pytest.raises(Unavailable, match="tcp-bind was allowed, not refused"):
        canary.try_sockets(bind)
