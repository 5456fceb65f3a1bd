"""What is composed around root's helpers on the nodes: the gateway's side of it, and the helper's credentials.

The helper's key is made in its memory and leaves it never; who it is it proves anew for each certificate.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence

from jupyter_hpcsec.config import GatewaySettings
from jupyter_hpcsec.hub.credentials import JobCredentials
from jupyter_hpcsec.identity.keys import KeyRing
from jupyter_hpcsec.identity.munge import munge_encode
from jupyter_hpcsec.identity.nodes import NodeEnroller, node_payload
from jupyter_hpcsec.identity.slurm import SlurmScheduler
from jupyter_hpcsec.tunnel.broker import Broker
from jupyter_hpcsec.tunnel.limits import Counters
from jupyter_hpcsec.tunnel.nodeport import NodePort, Watchers
from jupyter_hpcsec.tunnel.observer import Observer
from jupyter_hpcsec.tunnel.store import Store

SLURM_ENVIRONMENT = ("PATH", "SLURM_CONF", "LD_LIBRARY_PATH")


def make_enroller(settings: GatewaySettings, keyring: KeyRing) -> NodeEnroller | None:
    """Who decides which helper is a node's; None where the site wants none."""
    if not settings.node_helpers:
        return None
    environment = {name: os.environ[name] for name in SLURM_ENVIRONMENT if name in os.environ}
    return NodeEnroller(
        keyring,
        SlurmScheduler(env=environment),
        trust_domain=settings.trust_domain,
        compares_peer=settings.compares_node_address,
    )


def make_port(
    settings: GatewaySettings,
    store: Store,
    broker: Broker,
    *,
    observer: Observer,
    counters: Counters,
    log: logging.Logger,
    watchers: Watchers | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> NodePort:
    """Where helpers tell. It is there in any case: one that is not heard is told why."""
    return NodePort(
        store,
        broker,
        observer=observer,
        counters=counters,
        limits=settings.limits,
        log=log,
        now=lambda: int(time.time()),
        clock=clock,
        watchers=watchers,
    )


class RootCredentials(JobCredentials):
    """Implements ``tunnel.nodelink.NodeCredentials``. ``munge`` is the command."""

    def __init__(self, node: str, munge: Sequence[str] = ("munge",)) -> None:
        super().__init__()
        self._node, self._munge = node, munge

    def evidence(self) -> Mapping[str, str]:
        """A MUNGE credential of whoever runs this, for this node and the key of the next request."""
        return {"munge": munge_encode(node_payload(self._node, self.fingerprint()), command=self._munge)}
