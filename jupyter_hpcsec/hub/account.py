"""The Unix account that a hub user's job runs under. Looks accounts up; changes nothing and runs nothing."""

import contextlib
import grp
import os
import pwd
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.tunnel import messages as m

NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,31}", re.IGNORECASE)
"""What useradd takes, and Active Directory's capitals. No leading dash: it stands on sudo's command line."""


@dataclass(frozen=True)
class Account:
    """One entry of the password database, with the ids of all its groups."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: Path
    shell: str


def _from_entry(entry: pwd.struct_passwd) -> Account:
    if any(not c.isprintable() for c in entry.pw_dir + entry.pw_shell) or not entry.pw_dir.startswith("/"):
        raise Refused("spawn.account", f"The home directory of the account {entry.pw_name!r} is not an absolute path.")
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, groups, Path(entry.pw_dir), entry.pw_shell)


def lookup(name: str) -> Account:
    """The account of that name.

    Raises ``Refused("spawn.account")`` when there is none, when the name is none that an account has, and for root.
    """
    if not NAME.fullmatch(name):
        raise Refused(
            "spawn.account", "Your login name is not one that a Unix account can have; ask your administrators."
        )
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise Refused(
            "spawn.account",
            f"There is no account {name!r} on the cluster's head node; ask your administrators for one.",
        ) from None
    if entry.pw_uid == 0:
        raise Refused("spawn.account", "Sessions never run as root; log in with another name.")
    return _from_entry(entry)


def group_names(gids: Iterable[int]) -> tuple[str, ...]:
    """The names of groups, sorted; one without a name is in no rule."""
    names = set()
    for gid in gids:
        with contextlib.suppress(KeyError):
            names.add(grp.getgrgid(gid).gr_name)
    return tuple(sorted(names))


def on_this_node(environment: Mapping[str, str]) -> m.Account:
    """Who this job runs as, for the gateway: home as the job has it, group and groups as the name service has them.

    ``Unavailable`` when the node's name service does not know the user.
    """
    uid = os.geteuid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise Unavailable(f"This node does not know the user {uid}: its name service is not the hub's.") from None
    home = environment.get("HOME", "")
    return m.Account(
        gid=entry.pw_gid,
        home=str(Path(home if home.startswith("/") else entry.pw_dir)),
        groups=list(group_names(os.getgrouplist(entry.pw_name, entry.pw_gid))),
    )


def own() -> Account:
    """The account that this very process runs under, for the local demo."""
    return _from_entry(pwd.getpwuid(os.geteuid()))
