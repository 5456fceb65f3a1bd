"""What a verification found, and how a bundle's events differ from those that were signed. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: a short dotted name, where, a sentence, and the events concerned (first, last)."""

    what: str
    where: str
    sentence: str
    first: int | None = None
    last: int | None = None

    def __str__(self) -> str:
        events = ""
        if self.first is not None:
            events = f"event {self.first}" if self.last in (None, self.first) else f"events {self.first} to {self.last}"
        return f"{self.what}: {events}{': ' if events else ''}{self.sentence} [{self.where}]"


def compare(
    signed: Sequence[bytes], found: Sequence[bytes], start: int, where: str, known: Mapping[bytes, int]
) -> list[Finding]:
    """How the events of a bundle (hashes ``found``) differ from those signed, which begin with event ``start``.

    ``known`` maps the hashes of all signed events to their indices: what was copied from elsewhere is called by name.
    """
    gone: dict[bytes, int] = {}
    come: list[tuple[int, bytes]] = []
    altered: list[tuple[int, bytes]] = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, signed, found, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        paired = min(i2 - i1, j2 - j1)
        altered += [(start + i1 + k, found[j1 + k]) for k in range(paired)]
        gone |= {signed[i]: start + i for i in range(i1 + paired, i2)}
        come += [(start + j, found[j]) for j in range(j1 + paired, j2)]
    result = []
    for index, now in altered:
        other = known.get(now)
        if other is None:
            result.append(Finding("event.altered", where, "its bytes are not those that were signed", index))
        else:
            result.append(Finding("event.swapped", where, f"event {other} stands in its place", index))
    for index, now in come:
        if now in gone:
            result.append(Finding("event.moved", where, f"it stands at place {index}", gone.pop(now)))
        elif now in known:
            result.append(Finding("event.duplicated", where, f"it stands again at place {index}", known[now]))
        else:
            result.append(Finding("event.inserted", where, "an event that was never signed stands here", index))
    result += [Finding("event.dropped", where, "it is gone", index) for index in gone.values()]
    return result
