"""Limits: how often, how many at once, and how often each was refused. Values in, values out; the clock is passed in.

Everything here has bounded memory whoever calls: keys and rule names may come from peers.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from jupyter_hpcsec.errors import Malformed, Refused

KEYS = 16_384
"""Buckets that one ``RateLimit`` remembers, by default: about 3 MiB at most."""

RULES = 256
"""Names that one ``Counters`` tells apart, by default."""

OTHER = "other"


def address_key(address: str) -> str:
    """The key under which a peer's address is limited: the IPv4 address, or the /64 of an IPv6 one.

    One host usually owns its whole /64 (RFC 6177), so that a limit per address would be none. IPv4-mapped addresses
    count as IPv4, and a zone (``%eth0``) is dropped. Raises ``Malformed`` for what is no address.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError as exc:
        raise Malformed(f"{address!r} is no IP address.") from exc
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)


class RateLimit:
    """A token bucket per key: ``rate`` a second on the long run, ``burst`` at once.

    The ``keys`` last used are remembered. A forgotten one starts with a full bucket, so that whoever has more addresses
    than that gains at most ``burst`` for each: set a global ``Cap`` beside it.
    """

    def __init__(self, rate: float, burst: int, *, keys: int = KEYS) -> None:
        if not (rate > 0 and burst >= 1 and keys >= 1):
            raise ValueError("BUG: a rate limit needs a rate above 0, and a burst and a number of keys of at least 1")
        self.rate = rate
        self.burst = burst
        self._keys = keys
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allow(self, key: str, now: float) -> bool:
        """Take one from the key's bucket, if there is one. ``now`` is seconds on any clock; steps back count as 0."""
        level, at = self._buckets.pop(key, (float(self.burst), now))
        level = min(float(self.burst), level + max(0.0, now - at) * self.rate)
        allowed = level >= 1
        self._buckets[key] = (level - 1 if allowed else level, max(now, at))
        while len(self._buckets) > self._keys:
            self._buckets.popitem(last=False)
        return allowed

    def __len__(self) -> int:
        return len(self._buckets)


class Cap:
    """At most ``limit`` of something at once."""

    def __init__(self, limit: int) -> None:
        if limit < 0:
            raise ValueError("BUG: a cap below 0")
        self.limit = limit
        self.held = 0

    def acquire(self) -> bool:
        """Take one place; False, and nothing taken, when all are held."""
        if self.held >= self.limit:
            return False
        self.held += 1
        return True

    def release(self) -> None:
        """Give one place back."""
        if self.held <= 0:
            raise RuntimeError("BUG: a place was given back that was not taken")
        self.held -= 1

    @contextmanager
    def place(self, rule: str, reason: str) -> Iterator[None]:
        """Hold one place within the block; ``Refused(rule, reason)`` when all are held."""
        if not self.acquire():
            raise Refused(rule, reason)
        try:
            yield
        finally:
            self.release()


class Counters:
    """How often each rule refused. Past ``rules`` names, further ones are counted together as ``other``."""

    def __init__(self, *, rules: int = RULES) -> None:
        self._limit = rules
        self._counts: dict[str, int] = {}

    def count(self, rule: str, by: int = 1) -> None:
        """Add to the rule's count."""
        name = rule if rule in self._counts or len(self._counts) < self._limit else OTHER
        self._counts[name] = self._counts.get(name, 0) + by

    def snapshot(self) -> dict[str, int]:
        """All counts by rule, sorted by name; a copy."""
        return dict(sorted(self._counts.items()))
