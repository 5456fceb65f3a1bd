"""When an agent asks for its next certificate. Pure: times are Unix seconds of the gateway's clock, and passed in."""

LAST_RENEWAL_S = 60.0
"""Between two renewals at least, once the certificate ends with the session."""


class Renewal:
    """One job's certificate: ``not_after`` is its end, ``due_at`` when the next one is to be asked for.

    At half of its life. A certificate that ends with the session is renewed, too, at ever shorter halves: the session
    ends when its job does, and the job may have been given more time meanwhile.
    """

    __slots__ = ("_is_asked", "due_at", "not_after")

    def __init__(self) -> None:
        self.not_after = 0
        self.due_at = 0.0
        self._is_asked = False

    def issued(self, now: float, *, not_after: int, ends_at: int) -> None:
        """A certificate until ``not_after`` came, in a session until ``ends_at``."""
        half = max(0.0, not_after - now) / 2
        self.not_after = not_after
        self.due_at = now + (half if not_after < ends_at else max(half, LAST_RENEWAL_S))
        self._is_asked = False

    def reconnected(self) -> None:
        """What was asked on an earlier connection is not answered any more."""
        self._is_asked = False

    def is_due(self, now: float) -> bool:
        """Whether to ask now; true once until the answer, which may take the batch system's time."""
        is_due = now >= self.due_at and not self._is_asked
        self._is_asked |= is_due
        return is_due
