"""One development cluster a machine, several test runs: who may use it, and who may take it down."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jupyter_hpcsec.ops.cluster import Cluster

LOCK = Path("/run/hpcsec-cluster-tests.lock")


@contextmanager
def cluster_use() -> Iterator[Cluster]:
    """The cluster for one test run alone; afterwards it is up or down as it was found.

    Waits for the others; the caller's test or fixture needs a time-out that allows for that.
    """
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cluster = Cluster()
        was_up = cluster.status().is_up
        try:
            yield cluster
        finally:
            if was_up:
                cluster.up()
            else:
                cluster.down()
