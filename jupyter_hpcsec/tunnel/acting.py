"""Who acts in an admin call: the account that calls, by the kernel's word, or a person for whom it may speak."""

import os
from dataclasses import dataclass

from jupyter_hpcsec.audit.events import Subject
from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.tunnel.observer import CALLER


def caller(on_behalf: str = "") -> Subject:
    """Who makes the admin call that is being answered: the system's account, by the kernel's word.

    ``on_behalf`` names a person of the hub, by the word of the console, which runs as the gateway's own user; others
    may not speak for anybody (``Refused``), root neither: it has its own name.
    """
    peer = CALLER.get()
    if on_behalf and (peer is None or peer.uid != os.geteuid()):
        raise Refused("admin.on-behalf", "only the gateway's own user may act for somebody")
    return Subject(user=on_behalf, account=peer.account) if peer else Subject()


@dataclass(frozen=True)
class Acting:
    """``name``: a person's at the hub, or the account's. ``is_office``: whether they may approve purposes."""

    name: str
    is_office: bool
    subject: Subject


def acting(on_behalf: str, *, as_office: bool) -> Acting:
    """Who acts. Steps:

    1. Root and the gateway's own user alone: the hub may register sessions, and decides nothing about their purposes.
    2. A person is named by the gateway's own user alone (the console, which has asked the hub who they are).
    3. Nobody named: whoever administers this host, who is the office.
    """
    peer = CALLER.get()
    if peer is None or peer.uid not in (0, os.geteuid()):  # 1
        raise Refused("project.caller", "Only root and the gateway's user may change projects.")
    who = caller(on_behalf)  # 2
    return Acting(on_behalf, as_office, who) if on_behalf else Acting(who.account, True, who)  # 3
