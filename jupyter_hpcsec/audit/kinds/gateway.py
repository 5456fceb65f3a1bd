"""Kinds about the gateway: its start, its keys, its admin socket."""

from jupyter_hpcsec.audit.events import Event, Name


class GatewayStarted(Event, frozen=True, kw_only=True, tag="gateway.started"):
    """The gateway serves. ``attestors`` and ``endpoints`` are lists as text."""

    version: Name = ""
    attestors: Name = ""
    endpoints: Name = ""


class GatewayStopped(Event, frozen=True, kw_only=True, tag="gateway.stopped"):
    """The gateway stops in good order; sessions go on."""


class KeysRotated(Event, frozen=True, kw_only=True, tag="keys.rotated"):
    """New keys of ``what`` (token, authority, all)."""

    what: Name = ""


class AdminCalled(Event, frozen=True, kw_only=True, tag="admin.called"):
    """Somebody asked at the admin socket for something that ends or cuts: the hub for its users, or people."""

    call: Name = ""


class AdminRefused(Event, frozen=True, kw_only=True, tag="admin.refused"):
    """A call at the admin socket was refused, or a connection before it could make one (``admin.peer``)."""

    call: Name = ""
