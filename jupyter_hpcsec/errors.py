"""The errors of the whole package: one base, three kinds, each with a bounded reason.

Foreign errors are translated into one of these once, at the edge, ``from exc``. A reason tells people
what to do next and never holds a secret; it may be shown in a browser and is written to the log.
"""

REASON_LIMIT = 400
"""Characters. A reason may quote what a peer sent, so that its length is bounded here and nowhere else."""


def printable(text: str, limit: int = REASON_LIMIT) -> str:
    """What may stand in a log line or on a page: at most ``limit`` characters, no line end and no control character."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


class HpcsecError(Exception):
    """Base of all errors that this package raises on purpose.

    ``reason`` is one sentence of at most ``REASON_LIMIT`` printable characters.
    """

    def __init__(self, reason: str) -> None:
        self.reason = printable(reason)
        super().__init__(self.reason)


class Refused(HpcsecError):
    """A rule said no. ``rule`` is the rule's short dotted name, such as ``token.expired``, for log and counters."""

    def __init__(self, rule: str, reason: str) -> None:
        self.rule = rule
        super().__init__(reason)

    def __str__(self) -> str:
        return f"{self.reason} [{self.rule}]"


class Malformed(HpcsecError):
    """What came in is not in the one form that is accepted; nothing of it was used."""


class Unavailable(HpcsecError):
    """A part that is needed can't be had now (not running, no answer); trying again later may help."""
