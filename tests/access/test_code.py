"""Code that a session's user could change is found, named with the right that is too much, and refused."""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from jupyter_hpcsec.access import code
from jupyter_hpcsec.access.code import Finding
from jupyter_hpcsec.access.plan import unrestricted
from jupyter_hpcsec.access.values import Bind, Code, Enforcement, Plan
from jupyter_hpcsec.errors import Unavailable

USER, MAINTAINER = 1001, 77
OURS = str(Path(code.__file__))


def everything_is(
    owner: int = 0, mode: int = 0o755, but: dict[str, tuple[int, int]] | None = None
) -> Callable[[str], os.stat_result]:
    def look(place: str) -> os.stat_result:
        uid, rights = (but or {}).get(place, (owner, mode))
        return os.stat_result((stat.S_IFDIR | rights, 0, 0, 1, uid, 0, 0, 0, 0, 0))

    return look


def find(look: Callable[[str], os.stat_result], *, uid: int = USER, owners: tuple[int, ...] = ()) -> Finding | None:
    return code.find(uid, owners, look=look, may_write=lambda place: False)


@pytest.mark.parametrize(
    "place",
    [
        OURS,
        str(Path(OURS).parent),
        "/",  # whoever owns what is above can put another in its place
        sys.executable,
        str(Path(sys.executable).resolve()),
        str(Path(sys.executable).parent),
        str(Path(os.__file__)),
        str(Path(msgspec.__file__)),
        str(Path(sys.prefix, "pyvenv.cfg")),
    ],
)
def test_each_part_of_what_runs_has_to_be_roots(place: str) -> None:
    assert find(everything_is()) is None
    assert find(everything_is(but={place: (USER, 0o755)})) == Finding(place, f"belongs to uid {USER}")
    assert find(everything_is(but={place: (0, 0o757)})) == Finding(place, "can be written to by everybody")
    assert find(everything_is(but={place: (0, 0o1777)})) is None, "sticky: nobody exchanges there what is another's"


def test_the_start_files_of_site_packages_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = tmp_path / "run-at-start.pth"
    start.write_text("import os")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find(everything_is(but={str(start): (USER, 0o644)})) == Finding(str(start), f"belongs to uid {USER}")


def test_an_owner_whom_the_site_names_may_own_it_but_for_the_owners_own_sessions() -> None:
    theirs = everything_is(MAINTAINER)
    assert find(theirs) is not None
    assert find(theirs, owners=(MAINTAINER,)) is None
    own = find(theirs, uid=MAINTAINER, owners=(MAINTAINER,))
    assert own is not None and own.right == f"belongs to uid {MAINTAINER}"
    assert find(everything_is(), uid=0) is None, "root's own session"


def test_a_right_that_modes_do_not_show_counts() -> None:
    found = code.find(USER, (), look=everything_is(), may_write=lambda place: place == OURS)
    assert found == Finding(OURS, f"can be written to by uid {USER}")


def test_what_is_not_there_is_nobodys_and_what_can_not_be_looked_at_is_refused() -> None:
    def raising(error: type[OSError]) -> Callable[[str], os.stat_result]:
        def look(place: str) -> os.stat_result:
            if place == OURS:
                raise error(5, "no answer")
            return everything_is()(place)

        return look

    assert find(raising(FileNotFoundError)) is None
    assert find(raising(OSError)) == Finding(OURS, "can't be looked at: no answer")


def plan(*, owners: tuple[int, ...] = (), unsafe: bool = False, required: bool = True) -> Plan:
    return msgspec.structs.replace(
        unrestricted("alice", Bind.NONE),
        enforcement=Enforcement.REQUIRED if required else Enforcement.ADVISORY,
        code=Code(owners=owners, unsafe_any=unsafe),
    )


def test_no_session_on_open_code_unless_the_site_says_so_and_then_the_receipt_says_so() -> None:
    def seek(uid: int, owners: tuple[int, ...]) -> Finding | None:
        return None if owners else Finding("/opt/x", f"belongs to uid {uid}")

    with pytest.raises(Unavailable, match=r"/opt/x belongs to uid 1001\. Administrators: install .*code_owners\.$"):
        code.check(plan(), uid=USER, seek=seek)
    for told in (plan(unsafe=True), plan(required=False)):
        assert code.check(told, uid=USER, seek=seek) == "NOT root's alone to write: /opt/x belongs to uid 1001"
    assert code.check(plan(owners=(7, 8)), uid=USER, seek=seek) == "root's, or that of uid 7, 8"
    assert code.check(plan(), uid=USER, seek=lambda uid, owners: None) == "root's"
