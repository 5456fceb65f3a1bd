"""Kinds about the access policy that the gateway goes by."""

from jupyter_hpcsec.audit.events import Event


class PolicyLoaded(Event, frozen=True, kw_only=True, tag="policy.loaded"):
    """The gateway goes by this access policy from now on: ``policy`` is its hash, ``object`` its file and size.

    A gateway that starts says it too, so one hash can follow itself.
    """


class PolicyRefused(Event, frozen=True, kw_only=True, tag="policy.refused"):
    """The access policy can't be used, ``reason`` says why: no session starts until it is mended."""
