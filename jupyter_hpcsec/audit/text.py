"""Text that may stand in an event: bounded, one line, and without codes for terminals. Pure.

Everything that people, browsers and nodes can choose passes here before it is recorded, so that no reader of the
record, in whatever format, can be made to show a line that was never written.
"""

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
CUT = "…"


def clean(value: str | bytes, limit: int) -> str:
    """At most ``limit`` characters, all printable; what is not becomes U+FFFD, what was cut ends with ``…``.

    Not printable are control characters (line ends, NUL, ESC), formatting ones (direction marks, zero width), lone
    surrogates and unassigned code points (``str.isprintable``). Bytes are read as UTF-8. Idempotent.
    """
    # 1. The size first: what follows costs time by the character.
    if isinstance(value, bytes):
        value = value[: 4 * limit + 4].decode("utf-8", errors="replace")
    if len(value) <= limit and value.isprintable():
        return value
    shown = value[:limit]
    # 2. Character by character, only where something is wrong.
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else REPLACEMENT for c in shown)
    return shown if len(value) <= limit else shown[: limit - 1] + CUT


def exact(value: str | bytes, limit: int) -> str:
    """The value's first ``limit`` bytes in hexadecimal, where ``clean`` would lose something; else empty."""
    data = value if isinstance(value, bytes) else value.encode("utf-8", errors="surrogatepass")
    head = data[: limit + 1]
    return head[:limit].hex() if clean(head, limit).encode() != head else ""
