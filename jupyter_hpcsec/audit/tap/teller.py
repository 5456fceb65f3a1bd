"""What a follower tells: events that must be on record before the bytes go on, and events that follow them. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from jupyter_hpcsec.audit.events import Event, Recordable
from jupyter_hpcsec.audit.tap.recording import Recording
from jupyter_hpcsec.audit.tap.source import Network


@dataclass(frozen=True)
class Site:
    """What all streams of one session share. ``base`` is the server's path (``paths.base_path``)."""

    session: str
    base: tuple[str, ...]
    recording: Recording
    trusted: tuple[Network, ...]
    is_forwarded: bool
    clock: Callable[[], float]
    number: Callable[[], str]


@dataclass(slots=True)
class Told:
    """Events in their order. ``required`` ones are durable before the bytes in which they were seen are passed on."""

    required: list[Recordable] = field(default_factory=list)
    noted: list[Recordable] = field(default_factory=list)

    def require(self, event: Event, values: Mapping[str, bytes] | None = None) -> None:
        """An event without which the bytes may not pass."""
        self.required.append(Recordable(event, "gateway", values or {}))

    def note(self, event: Event, values: Mapping[str, bytes] | None = None) -> None:
        """An event of what passed."""
        self.noted.append(Recordable(event, "gateway", values or {}))

    def __bool__(self) -> bool:
        return bool(self.required or self.noted)
