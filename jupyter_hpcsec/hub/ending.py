"""Why a user's last session ended, in a sentence for its user. A value, kept in the spawner's state; no I/O.

The reason is the staff's, the gateway's or the job's text: it is made printable and bounded here, and a page or a
program that shows it has to escape it for its own form.
"""

from dataclasses import asdict, dataclass
from typing import Any

from jupyter_hpcsec.hub.progress import printable

REASON_LIMIT = 300
OPENINGS = {
    "staff": "Your session was ended by this site's staff",
    "gateway": "Your session has ended",
    "": "Your session was ended",
}


@dataclass(frozen=True)
class Ended:
    """``by`` is ``staff``, ``gateway`` or empty where it is not known any more."""

    reason: str
    by: str = ""

    @classmethod
    def of(cls, reason: Any, by: Any = "") -> "Ended":
        """From the gateway's answer."""
        known = by if isinstance(by, str) and by in OPENINGS else ""
        return cls(printable(str(reason), REASON_LIMIT), known)

    @property
    def sentence(self) -> str:
        """For people, plain text."""
        return f"{OPENINGS[self.by]}: {self.reason or 'no reason was given'}"

    def to_state(self) -> dict[str, str]:
        """For the spawner's state."""
        return asdict(self)

    @classmethod
    def from_state(cls, value: Any) -> "Ended | None":
        """The reverse; ``None`` for what is none."""
        if not isinstance(value, dict) or not isinstance(value.get("reason"), str):
            return None
        return cls.of(value["reason"], value.get("by", ""))
