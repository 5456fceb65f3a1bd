"""One development cluster a machine, several test runs: who may use it, and who may take it down."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = Path("/run/hpcsec-cluster-tests.lock")


@contextmanager
def cluster_use(*, exclusive: bool) -> Iterator[None]:
    """Hold the cluster while testing: ``exclusive`` for tests that break it, shared for those that run jobs on it.

    Waits for the others; the caller's test or fixture needs a time-out that allows for that.
    """
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
