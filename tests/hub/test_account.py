import os

import pytest

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.hub.account import lookup, own


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
