"""What a terminal showed, where outputs are recorded: in its order and with its timing, so much per typed line. Pure.

It is told by the line, as soon as a second is over or enough has come, and before the next line that is typed: so that
a secret which somebody types slowly is looked for in the whole line that echoes it.
"""

import json
from collections.abc import Callable
from typing import Any

from jupyter_hpcsec.audit.events import Object
from jupyter_hpcsec.audit.kinds import terminals as t
from jupyter_hpcsec.audit.tap.teller import Site, Told
from jupyter_hpcsec.audit.tap.websocket import Agreed, WebSocketFollower
from jupyter_hpcsec.errors import Refused

OLD_S = 1.0
"""Seconds after which what was shown is told when more comes."""
HELD_LIMIT = 16_384
"""Characters that are held; more is told."""
SIZE_LIMIT = 10_000
"""Rows and columns: more is no terminal's size."""


class Screen:
    """One terminal's. ``event`` makes an event with the terminal's own fields."""

    def __init__(self, site: Site, told: Told, agreed: Agreed, event: Callable[..., t.TerminalOutput]) -> None:
        self._site, self._told, self._event = site, told, event
        self._server: WebSocketFollower | None = WebSocketFollower(is_browser=False, deflate=agreed.server)
        self._parts: list[tuple[float, str]] = []
        self._held = self._kept = self._truncated = 0
        self._rows = self._columns = 0

    def take(self, view: memoryview) -> None:
        """Bytes on their way to the browser. What can't be read cuts nothing: recording ends here, and says so."""
        if self._server is None:
            return
        try:
            for message in self._server.feed(view):
                self._show(_shown(message.data))
        except Refused as refusal:
            self._server = None
            self.tell(f"what the terminal showed could not be followed: {refusal.reason}")

    def resize(self, command: list[Any]) -> None:
        """The browser says how large the terminal is: ``["set_size", rows, columns, …]``."""
        sizes = [each for each in command[1:3] if type(each) is int and 0 < each < SIZE_LIMIT]
        if len(sizes) == 2:
            self._rows, self._columns = sizes

    def next_line(self) -> None:
        """A line is typed: what was shown until then is told, and there is room again."""
        self.tell()
        self._kept = 0

    def tell(self, why: str = "") -> None:
        """All that is held."""
        self._tell(len(self._parts), why)

    def _show(self, text: str) -> None:
        if not text:
            return
        if self._parts and (self._site.clock() - self._parts[0][0] >= OLD_S or self._held >= HELD_LIMIT):
            self._tell_lines()
        data = text.encode("utf-8", errors="replace")
        room = max(0, self._site.recording.output_limit - self._kept)
        self._truncated += max(0, len(data) - room)
        kept = data[:room].decode("utf-8", errors="ignore")
        if kept:
            self._kept += len(data[:room])
            self._held += len(kept)
            self._parts.append((self._site.clock(), kept))

    def _tell_lines(self) -> None:
        """Up to the last line that is whole; all of it where there is too much of one."""
        whole = next((number for number in range(len(self._parts), 0, -1) if "\n" in self._parts[number - 1][1]), 0)
        if whole or self._held >= HELD_LIMIT:
            self._tell(whole or len(self._parts))

    def _tell(self, count: int, why: str = "") -> None:
        parts, self._parts = self._parts[:count], self._parts[count:]
        truncated, self._truncated = self._truncated, 0
        if not parts and not truncated and not why:
            return
        now = self._site.clock()
        ages = [max(0, round(1000 * (now - at))) for at, _ in parts]
        texts, redacted = self._site.recording.redact_parts([text for _, text in parts])
        self._held = sum(len(text) for _, text in self._parts)
        pairs = [[age, text] for age, text in zip(ages, texts, strict=True)]
        text = self._site.recording.as_is("output", json.dumps(pairs, ensure_ascii=False), redacted)
        event = self._event(
            object=Object(size=text.size),
            rows=self._rows,
            columns=self._columns,
            truncated=truncated,
            redacted=redacted,
            reason=why,
        )
        self._told.note(event, text.values)


def _shown(data: bytes) -> str:
    """What a message of the terminal shows; empty for others. ``Refused``."""
    try:
        command = json.loads(data)
        if command[0] != "stdout":
            return ""
        text = command[1]
    except (ValueError, LookupError, TypeError, RecursionError) as exc:
        raise Refused("tap.terminal-malformed", "a message of a terminal can't be read") from exc
    return text if isinstance(text, str) else ""
