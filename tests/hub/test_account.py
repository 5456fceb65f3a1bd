import os
import pwd

import pytest

from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.hub.account import group_names, lookup, on_this_node, own


@pytest.mark.parametrize(
    "name",
    [
        "root",
        "no-such-user-here",
        "-u root",
        "--help",
        "a b",
        "al\nice",
        "../alice",
        "",
        "a" * 33,
        "alice@x",
        "ali\0ce",
    ],
)
def test_names_that_get_no_job(name) -> None:
    with pytest.raises(Refused) as refused:
        lookup(name)
    assert refused.value.rule == "spawn.account"


def test_an_account_and_our_own() -> None:
    account = lookup("nobody")
    assert account.uid != 0 and account.home.is_absolute() and account.gid in account.groups
    assert own().uid == os.geteuid()


def test_a_group_without_a_name_is_in_no_rule() -> None:
    assert group_names([0, 0, 3_999_999_999]) == ("root",)


def test_a_node_that_does_not_know_the_user_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 3_999_999_999)
    with pytest.raises(Unavailable, match="name service"):
        on_this_node({})


@pytest.mark.parametrize(
    ("given", "home"), [("", None), ("relative", None), ("/srv/h/", "/srv/h"), ("/srv/h", "/srv/h")]
)
def test_what_the_node_says_of_the_account(given: str, home: str | None) -> None:
    entry = pwd.getpwuid(os.geteuid())
    account = on_this_node({"HOME": given})
    assert account.home == (home or entry.pw_dir) and account.gid == entry.pw_gid
    assert set(account.groups) >= set(group_names([entry.pw_gid])) and account.groups == sorted(account.groups)
