"""What passes in a terminal's websocket (terminado: JSON lists in text messages). Pure.

What is typed is told by the line, as it was typed: the byte that ends a line may only pass once the line is on record.
Where the site records no sources, only sizes are told, at the end; where it records outputs, also what is shown.
"""

import json
from typing import Any

from jupyter_hpcsec.audit.events import Object
from jupyter_hpcsec.audit.kinds import terminals as t
from jupyter_hpcsec.audit.tap import refusal
from jupyter_hpcsec.audit.tap.boundary import Boundary
from jupyter_hpcsec.audit.tap.refusal import Answer
from jupyter_hpcsec.audit.tap.screen import Screen
from jupyter_hpcsec.audit.tap.teller import Site, Told
from jupyter_hpcsec.audit.tap.websocket import Agreed, WebSocketFollower
from jupyter_hpcsec.errors import Refused

LINE_LIMIT = 4096
"""Characters of a line that are held; more of it is told in parts."""
_ENDS = frozenset("\r\n\x03\x04\x0f")
"""What makes a shell act: Enter, ^C, ^D, and ^O (operate-and-get-next)."""


class TerminalSocket:
    """One websocket to a terminal."""

    def __init__(self, site: Site, told: Told, agreed: Agreed, *, terminal: str, source: str) -> None:
        self._site, self._told, self._terminal, self._source = site, told, terminal, source
        self._browser = WebSocketFollower(is_browser=True, deflate=agreed.browser)
        self._boundary = Boundary()
        self._line: list[str] = []
        self._held = self._typed = self._shown = 0
        self._screen = Screen(site, told, agreed, self._output) if site.recording.keeps_outputs else None
        told.note(t.TerminalOpened(session=site.session, terminal=terminal, source=source))

    def from_browser(self, view: memoryview) -> None:
        """Bytes on their way to the terminal. ``Refused``."""
        for message in self._browser.feed(view):
            text, size = _typed(message.data)
            if size and self._screen:
                self._screen.resize(size)
            self._typed += len(text.encode("utf-8", errors="replace"))
            if self._site.recording.keeps_sources and text:
                self._line.append(text)
                self._held += len(text)
                if self._held > LINE_LIMIT or not _ENDS.isdisjoint(text):
                    self._tell_line()

    def from_server(self, view: memoryview) -> None:
        """Bytes that the terminal showed, as they came in their frames."""
        self._shown += len(view)
        self._boundary.feed(view)
        if self._screen:
            self._screen.take(view)

    def last_words(self, answer: Answer, unread: memoryview) -> bytes:
        """Why nothing more can be typed, on a line of its own; ``unread`` is typed in vain."""
        return refusal.to_terminal(answer) if self._boundary.is_between else b""

    def closed(self) -> None:
        """The websocket is over."""
        if self._line:
            self._tell_line()
        if self._screen:
            self._screen.tell()
        self._told.note(
            t.TerminalClosed(
                session=self._site.session,
                terminal=self._terminal,
                source=self._source,
                bytes_typed=self._typed,
                bytes_shown=self._shown,
            )
        )

    def _output(self, **fields: Any) -> t.TerminalOutput:
        return t.TerminalOutput(session=self._site.session, terminal=self._terminal, source=self._source, **fields)

    def _tell_line(self) -> None:
        if self._screen:
            self._screen.next_line()
        text = self._site.recording.sealed("input", "".join(self._line))
        self._line, self._held = [], 0
        event = t.TerminalInput(
            session=self._site.session,
            terminal=self._terminal,
            source=self._source,
            object=Object(size=text.size),
            redacted=text.redacted,
        )
        self._told.require(event, text.values)


def _typed(data: bytes) -> tuple[str, list[Any]]:
    """What a message types into the terminal, or one that sets its size. ``Refused``."""
    try:
        command = json.loads(data)
        if command[0] != "stdin":
            return "", command if command[0] == "set_size" and isinstance(command, list) else []
        text = command[1]
    except (ValueError, LookupError, TypeError, RecursionError) as exc:
        raise Refused("tap.terminal-malformed", "a message to a terminal can't be read") from exc
    if not isinstance(text, str):
        raise Refused("tap.terminal-malformed", "what is typed into a terminal is no text")
    return text, []
