"""For whom an admin call speaks: only the gateway's own user may name a person, who then stands in the event."""

import os

import pytest

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.tunnel.desk import caller
from jupyter_hpcsec.tunnel.observer import CALLER
from jupyter_hpcsec.tunnel.peer import PeerCredentials


@pytest.mark.parametrize("uid", [0, 64012])
def test_nobody_else_speaks_for_somebody(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    """The hub's account may end sessions, in its own name; root has its own name too."""
    monkeypatch.setattr(os, "geteuid", lambda: 64011)
    CALLER.set(PeerCredentials(pid=1, uid=uid, gid=uid))
    with pytest.raises(Refused, match="act for somebody"):
        caller("ada")
    assert (caller().user, caller().account) == ("", f"uid {uid}")


def test_the_consoles_word_names_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 64011)
    CALLER.set(PeerCredentials(pid=1, uid=64011, gid=64011))
    assert (caller("ada").user, caller("ada").account) == ("ada", "uid 64011")


def test_a_call_without_a_peer_speaks_for_nobody() -> None:
    CALLER.set(None)
    with pytest.raises(Refused):
        caller("ada")
