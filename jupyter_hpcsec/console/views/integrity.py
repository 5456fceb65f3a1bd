"""The Integrity page's values: how the record is, who would notice a change, and findings in plain words. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jupyter_hpcsec.audit.notes import Checkpoint
from jupyter_hpcsec.audit.sinks.lag import SinkState
from jupyter_hpcsec.ops.doctor import record as doctor
from jupyter_hpcsec.ops.doctor.finding import Finding as Judged
from jupyter_hpcsec.ops.doctor.finding import Status

Tone = Literal["good", "warn", "bad", "quiet"]
LATE_S = 300.0
"""A sink that is further behind than this is late."""
GAP_KINDS = ("audit.gap", "node.gap", "node.lost", "hub.lost", "audit.set-aside")
GAPS = 25

_TONES: Mapping[Status, Tone] = {
    Status.OK: "good",
    Status.WARN: "warn",
    Status.BAD: "bad",
    Status.UNKNOWN: "quiet",
}


@dataclass(frozen=True)
class Line:
    """One thing about the record: good, to be looked at, or bad; and what to do about it."""

    tone: Tone
    said: str
    fix: str = ""
    word: str = ""

    @property
    def tag(self) -> str:
        """The word in front of it."""
        return self.word or {"good": "ok", "warn": "look", "bad": "wrong", "quiet": "unknown"}[self.tone]


def line(judged: Judged) -> Line:
    """A finding of ``hpcsec doctor`` as a line: both judge alike."""
    return Line(_TONES[judged.status], _sentence(judged.what), _sentence(judged.fix))


def _sentence(text: str) -> str:
    """The doctor's words begin small and have no end; a command stays as it is typed."""
    said = f"Run {text}" if text.startswith("hpcsec ") else f"{text[:1].upper()}{text[1:]}"
    return f"{said}." if text and not text.endswith(".") else said


def health(audit: Mapping[str, Any], now: float) -> list[Line]:
    """What the gateway says of the record: can it be written, was something lost, who watches it."""
    if "durable" not in audit:
        return [Line("bad", "The gateway does not say how its record is.", "Upgrade the gateway.")]
    judged = [doctor.judge_writing(audit), doctor.judge_lost(audit)]
    if "directory" in audit:
        judged += [
            doctor.judge_space(audit.get("free_bytes")),
            doctor.judge_second_place(audit),
            doctor.judge_retention(int(audit.get("retention_days", 0)), int(audit.get("values_days", 0))),
        ]
        if audit.get("witness") is not None:
            judged.append(doctor.judge_witness(audit["witness"], int(audit["durable"]), now))
    lines = [line(each) for each in judged]
    if "directory" in audit and audit.get("witness") is None:
        said = "No other host watches the record: who owns this one could write its history anew."
        lines.append(Line("quiet", said, "An admin can set up hpcsec audit witness on another host.", "no witness"))
    return lines


def second(newest: Checkpoint | str | None, checkpoint: Checkpoint) -> Line:
    """The second place beside the record. ``newest`` was read before ``checkpoint``; a text says why it was not."""
    if newest is None:
        return Line("warn", "There is no checkpoint in a second place: a record that went back would not be noticed.")
    if isinstance(newest, str):
        return Line("bad", f"The second place can't be read: {newest}", "Look at the path and its owner.")
    if newest.size > checkpoint.size:
        said = f"The second place knows {newest.size} events, the record has {checkpoint.size}: it was rolled back."
        return Line("bad", said, "Keep the directory as it is, and verify.")
    if newest.size == checkpoint.size and newest.root != checkpoint.root:
        return Line("bad", "The second place has another root hash: history was rewritten.", "Keep it, and verify.")
    return Line("good", f"The second place has the checkpoint of {newest.size} events.")


@dataclass(frozen=True)
class Sink:
    """How far one log collector is behind."""

    name: str
    tone: Tone
    state: str
    sent: int
    behind: int
    seconds: float
    rejected: int
    missed: int
    why: str


def sink(state: SinkState) -> Sink:
    """A sink's state in words."""
    tone: Tone = "good"
    said = "up to date" if not state.lag else "sending"
    if state.error:
        tone, said = "bad", "stands still"
    elif state.lag and state.lag_s > LATE_S:
        tone, said = "warn", "late"
    elif state.missed or state.rejected:
        tone = "warn"
    return Sink(state.name, tone, said, state.sent, state.lag, state.lag_s, state.rejected, state.missed, state.error)


@dataclass(frozen=True)
class Gap:
    """Something that is missing from the record, or silent."""

    leaf: int
    time: str
    kind: str
    said: str
    session: str


def gap(leaf: int, event: Mapping[str, Any]) -> Gap:
    """An event that tells of what is missing, as a sentence."""
    kind = str(event.get("kind", ""))
    count = event.get("lost", 0)
    match kind:
        case "node.gap":
            first, last = event.get("first", 0), event.get("last", 0)
            numbers = f"number {first}" if first == last else f"numbers {first} to {last}"
            who = f"the node {event['node']}" if event.get("node") else "a node"
            said = f"Of what {who} told, {numbers} never came." if last else f"The agent of {who} was replaced."
        case "audit.gap":
            said = f"{count} events could not be recorded ({event.get('kinds', '')}): {event.get('why', '')}"
        case "audit.set-aside":
            said = f"{event.get('bytes', 0)} bytes of a write that nobody was told to be done were set aside."
        case _:
            who = "The hub" if kind == "hub.lost" else "A node"
            said = f"{who} had no room for {count} events ({event.get('kinds', '')})."
    return Gap(leaf, str(event.get("time", "")), kind, said, str(event.get("session", "")))


@dataclass(frozen=True)
class Wrong:
    """One finding of a verification: a sentence, where, and the events concerned."""

    sentence: str
    detail: str
    where: str
    first: int | None
    last: int | None


WORDS: Mapping[str, str] = {
    "event.altered": "{events} changed after it was signed: its bytes are not the ones that the record's key signed.",
    "event.swapped": "{events} replaced: another event stands in its place.",
    "event.moved": "{events} moved to another place.",
    "event.duplicated": "{events} copied: it stands a second time at another place.",
    "event.inserted": "{events} put in: it was never signed.",
    "event.dropped": "{events} taken out.",
    "event.malformed": "{events} made unreadable: it is no event of this record.",
    "bundle.missing": "{events} taken out, with the file that held them, and no event says that retention did it.",
    "bundle.malformed": "{events} made unreadable: the file that holds them is damaged.",
    "tile.altered": "A file of hashes was changed. The events themselves can still be right; proofs can't be made.",
    "tile.malformed": "A file of hashes is damaged. The events themselves can still be right; proofs can't be made.",
    "tile.missing": "A file of hashes is gone. The events themselves can still be right; proofs can't be made.",
    "tree.root": "The events do not lead to the signed root: together they are not what was signed.",
    "checkpoint.broken": "The newest signed checkpoint is gone or was changed.",
    "log.rolled-back": "The record is older than it was: {events} under a checkpoint once, and not there now.",
    "log.forked": "The record is another one than it was when a checkpoint was kept elsewhere: history was rewritten.",
    "numbering.hole": "The numbers of events have a hole at event {first}.",
    "numbering.boot": "The starts of the gateway are counted wrongly at event {first}.",
    "journal.altered": "What waits for its checkpoint was changed.",
    "journal.hole": "Of what waits for its checkpoint, {events} missing.",
    "journal.missing": "What waits for its checkpoint can't be read.",
    "journal.unfinished": "What waits for its checkpoint ends in a damaged write.",
    "key.public": "The public key is not the one that is expected, or can't be read.",
    "key.private": "The private key is damaged, or does not belong to the public one.",
    "second-place.missing": "The second place can't be read: a rolled back record could not be told from a young one.",
    "second-place.altered": "A line of the second place was changed.",
    "witness.cosignature": "What the witness cosigned can't be taken.",
    "value.altered": "A sealed value of event {first} was changed.",
    "value.damaged": "A file of sealed values is damaged.",
    "value.stray": "A sealed value stands where no event has one.",
    "value.gone": "A sealed value of event {first} is gone, and no event says why.",
    "value.kept": "A sealed value of event {first} was to be destroyed, but is there.",
    "set-aside.altered": "What was set aside after a crash was changed.",
    "set-aside.missing": "What was set aside after a crash is gone.",
    "retention.file": "The note of how far retention has removed events is wrong.",
    "retention.kept": "{events} to be removed by retention, but there.",
    "retention.root": "An event of a removal does not fit the tree.",
    "retention.unfinished": "A removal by retention was cut short; the gateway ends it when it starts.",
    "file.stray": "There is a file that is not part of a record.",
    "index.damaged": "The index is damaged. The record is not concerned: `hpcsec audit reindex` makes it anew.",
    "index.lies": "The index lies about event {first}: the record is right, `hpcsec audit reindex` makes it anew.",
}
"""What each kind of finding means. ``{events}``: "Event 7 was", "Events 7 to 9 were"."""


def wrong(what: str, where: str, sentence: str, first: int | None, last: int | None) -> Wrong:
    """A finding in plain words; one of a kind that nobody has words for says what it says itself."""
    if first is None:
        events = "Events were"
    elif last in (None, first):
        events = f"Event {first} was"
    else:
        events = f"Events {first} to {last} were"
    words = WORDS.get(what, "The record does not hold.").format(events=events, first="" if first is None else first)
    return Wrong(words[:1].upper() + words[1:], sentence, where, first, last)


def percent(done: int, of: int) -> int:
    """For a bar; 0 where it is not known yet."""
    return max(0, min(100, 100 * done // of)) if of > 0 else 0


def summary(findings: Sequence[Wrong], total: int) -> str:
    """The first finding in one sentence, for the event of the outcome."""
    if not findings:
        return ""
    more = f" And {total - 1} more." if total > 1 else ""
    return f"{findings[0].sentence} ({findings[0].where}){more}"
