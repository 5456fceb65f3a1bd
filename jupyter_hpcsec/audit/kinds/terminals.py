"""Kinds about terminals, as the gateway saw them used."""

from jupyter_hpcsec.audit.events import Count, Event, Name


class TerminalOpened(Event, frozen=True, kw_only=True, tag="terminal.opened"):
    """A browser opened the terminal of this name."""

    terminal: Name = ""


class TerminalInput(Event, frozen=True, kw_only=True, tag="terminal.input"):
    """A line, or what was typed of one, is about to reach a terminal. ``object`` has its size. Sealed: ``input``."""

    terminal: Name = ""
    redacted: Count = 0


class TerminalOutput(Event, frozen=True, kw_only=True, tag="terminal.output"):
    """What a terminal showed, where outputs are recorded; ``truncated`` bytes of it were left out.

    Sealed: ``output``, a list of [milliseconds before this event, text]. ``rows`` and ``columns`` as the browser said.
    """

    terminal: Name = ""
    rows: Count = 0
    columns: Count = 0
    truncated: Count = 0
    redacted: Count = 0


class TerminalClosed(Event, frozen=True, kw_only=True, tag="terminal.closed"):
    """The browser's connection to a terminal is over; bytes typed and shown in it."""

    terminal: Name = ""
    bytes_typed: Count = 0
    bytes_shown: Count = 0
