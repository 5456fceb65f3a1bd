"""A record of very many events for benchmarks that read one: written at once, with no journal and nobody who waits.

It is a record like any other (the tests verify one): what is left out is what makes a gateway's events durable one by
one. For a gateway's own record it is of no use.
"""

import os
import time
from collections.abc import Iterable, Mapping
from itertools import islice

from jupyter_hpcsec.audit import recovery, values
from jupyter_hpcsec.audit.events import Event
from jupyter_hpcsec.audit.layout import Layout
from jupyter_hpcsec.audit.log import Log
from jupyter_hpcsec.audit.publisher import AT_ONCE, Publisher
from jupyter_hpcsec.audit.stamps import Stamper

Made = tuple[Event, Mapping[str, bytes]]
"""An event, and what is sealed beside it."""


def write(layout: Layout, origin: str, events: Iterable[Made]) -> None:
    """Make a record with these events, and those of its own beginning and end."""
    Log(layout.directory, origin=origin, second_place=None).close()
    signer = recovery.open_signer(layout, origin)
    found = recovery.find(layout, signer.verifier, [])
    publisher = Publisher(layout, signer, None, found.edge, lambda _: None)
    stamper = Stamper(found.seq, found.boot + 1, time.time_ns, time.monotonic_ns, os.urandom)
    frontier, waiting = found.frontier, iter(events)
    while batch := [stamper.queue(event, "gateway", sealed, None) for event, sealed in islice(waiting, AT_ONCE)]:
        leaves, kept = stamper.leaves(batch, frontier, os.urandom)
        values.append(layout, kept)
        publisher.publish(leaves)
        stamper.advance(len(leaves))
