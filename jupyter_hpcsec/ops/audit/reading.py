"""Questions to a record, and their being on record: nobody sees an event before the gateway has noted that they ask.

Where no gateway runs that can't be; then nothing is shown unless it is asked for as unrecorded, and that is said aloud.
"""

import asyncio
import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from jupyter_hpcsec.audit import files, values
from jupyter_hpcsec.audit.export import make_bundle, write_bundle
from jupyter_hpcsec.audit.index import Index, rebuild
from jupyter_hpcsec.audit.index_tables import COLUMNS, row_of
from jupyter_hpcsec.audit.layout import Layout
from jupyter_hpcsec.audit.notes import Verifier
from jupyter_hpcsec.audit.proofs import Prover
from jupyter_hpcsec.audit.question import Question
from jupyter_hpcsec.audit.reader import Reader
from jupyter_hpcsec.audit.recovery import read_verifier
from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.ops.audit.asciicast import terminals
from jupyter_hpcsec.ops.audit.seen import Seen
from jupyter_hpcsec.tunnel.admin import AdminClient

Say = Callable[[str], None]
Progress = Callable[[int, int], None]
POLL_S = 0.3
REPLAY_LIMIT = 1_000_000
"""Events of one session that are replayed at most."""

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_AGO = re.compile(r"([0-9]{1,6})(m|h|d)")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Shown:
    """One event: its place in the log and what it says."""

    leaf: int
    event: dict[str, Any]


@dataclass(frozen=True)
class Teller:
    """Tells the gateway at ``socket`` what is about to be read; ``unrecorded`` lets it be read without."""

    socket: Path
    unrecorded: bool
    say: Say

    def tell(self, action: str, query: str, found: int, *, with_values: bool = False) -> bool:
        """Whether it is on record now. ``Unavailable`` where it can't be and has to."""
        call = AdminClient(self.socket).audit_read(action=action, query=query, found=found, with_values=with_values)
        try:
            asyncio.run(call)
        except Unavailable as error:
            if not self.unrecorded:
                raise Unavailable(
                    f"{error.reason} Nothing is shown unless that is recorded; --unrecorded does."
                ) from error
            self.say("THIS IS NOT ON RECORD: no gateway could note it.")
            return False
        return True


class Record:
    """The record in ``directory``, for its owner."""

    def __init__(self, directory: Path) -> None:
        self.layout = Layout(directory)
        with files.translated(directory):
            owner = directory.stat().st_uid
        if owner != os.geteuid():
            raise Refused("audit.owner", f"{directory} belongs to uid {owner}; run this as that user (sudo -u)")
        self.verifier: Verifier = read_verifier(self.layout)
        self.reader = Reader(self.layout, self.verifier)

    @contextlib.contextmanager
    def index(self, progress: Progress) -> Iterator[Index]:
        """The index, up to date."""
        index = Index(self.layout.index, self.reader, self.verifier)
        with contextlib.closing(index):
            index.catch_up(progress)
            yield index

    def reindex(self, progress: Progress) -> int:
        """Make the index anew; how many events it has."""
        return rebuild(self.layout.index, self.reader, self.verifier, progress)

    def events(self, leaves: list[int]) -> list[Shown]:
        """Events, each proved to be under the checkpoint."""
        prover = Prover(self.layout, self.verifier) if leaves else None
        return [Shown(each.index, json.loads(each.leaf)) for each in prover.prove(leaves)] if prover else []

    def leaf_of(self, name: str, progress: Progress) -> int:
        """The leaf that somebody names: by its number or by the event's id."""
        if name.isascii() and name.isdigit() and len(name) < 16:
            return int(name)
        if not _UUID.fullmatch(name):
            raise Malformed(f"{name!r} is neither an event's number nor its id")
        with self.index(progress) as index:
            leaf = index.leaf_of(name)
        if leaf is None:
            raise Unavailable(f"no event under the checkpoint has the id {name}")
        return leaf


def query(record: Record, question: Question, teller: Teller, progress: Progress) -> list[Shown]:
    """The events that answer; each one proved. Where there are more than the limit, that is said."""
    leaves, is_cut = _answers(record, question, progress)
    teller.tell("query", str(question), len(leaves))
    if is_cut:
        teller.say(f"There are more than these {question.limit}: ask more narrowly, or raise --limit.")
    return record.events(leaves)


def _answers(record: Record, question: Question, progress: Progress) -> tuple[list[int], bool]:
    """The leaves that answer, up to the limit; and whether there are more."""
    with record.index(progress) as index:
        leaves = index.ask(replace(question, limit=question.limit + 1))
    return leaves[: question.limit], len(leaves) > question.limit


def show(record: Record, name: str, teller: Teller, progress: Progress, *, with_values: bool) -> dict[str, Any]:
    """One event with its place, its proof, and if asked for its sealed values."""
    leaf = record.leaf_of(name, progress)
    shown = proved(record, leaf, with_values=with_values)
    teller.tell("show", f"event {leaf}", 1, with_values=with_values)
    return shown


def proved(record: Record, leaf: int, *, with_values: bool = False) -> dict[str, Any]:
    """One event with its number, its proof of inclusion and the signed checkpoint that the proof leads to."""
    prover = Prover(record.layout, record.verifier)
    found = prover.one(leaf)
    shown: dict[str, Any] = {
        "leaf": leaf,
        "event": json.loads(found.leaf),
        "log": prover.head.origin,
        "size": prover.head.size,
        "proof": [each.hex() for each in found.proof],
        "checkpoint": prover.note.decode(),
    }
    if with_values:
        shown["values"] = _values(record, leaf, shown["event"].get("sealed", {}))
    return shown


def _values(record: Record, leaf: int, commitments: dict[str, str]) -> dict[str, str | None]:
    found = sealed(values.Finder(record.layout), leaf, commitments).items()
    return {name: None if data is None else data.decode("utf-8", errors="backslashreplace") for name, data in found}


def sealed(finder: values.Finder, leaf: int, commitments: dict[str, str]) -> dict[str, bytes | None]:
    """The sealed values of an event, each the one that was committed to; None for one that is not there any more."""
    found: dict[str, bytes | None] = dict.fromkeys(commitments)
    if not commitments:
        return found
    with files.translated(Path("values")):
        for kept in finder.find(leaf):
            committed = commitments.get(kept.name)
            if kept.value is not None and values.commitment(kept.salt, kept.name, kept.value) != committed:
                raise Malformed(f"the value {kept.name} of event {leaf} is not the one that was recorded")
            found[kept.name] = kept.value
    return found


def export(
    record: Record, question: Question, destination: Path, teller: Teller, progress: Progress, *, with_values: bool
) -> int:
    """Write a bundle of all the events that answer; how many they are. Half an answer is no evidence: ``Refused``."""
    if destination.exists():
        raise Refused("audit.exists", f"{destination} exists; an export replaces nothing")
    leaves, is_cut = _answers(record, question, progress)
    if is_cut:
        sentence = f"more than {question.limit} events answer; nothing is written: ask more narrowly, or raise --limit"
        raise Refused("audit.too-many", sentence)
    recorded = teller.tell("export", str(question), len(leaves), with_values=with_values)
    made = make_bundle(
        record.layout,
        record.verifier,
        leaves,
        question=str(question),
        by=f"uid {os.geteuid()}",
        time=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        with_values=with_values,
        recorded=recorded,
    )
    write_bundle(made, destination)
    return len(leaves)


def replay(record: Record, name: str, destination: Path | None, teller: Teller, progress: Progress) -> list[Path]:
    """Write a session's notebook, and beside it its terminals; the files. A session may be named by its beginning."""
    with record.index(progress) as index:
        found = index.sessions(name)
        if len(found) != 1:
            raise Unavailable(f"{'more than one' if found else 'no'} session in the record begins with {name!r}")
        leaves = index.ask(Question(session=found[0], limit=REPLAY_LIMIT + 1))
    if len(leaves) > REPLAY_LIMIT:
        raise Refused("audit.too-many", f"session {found[0]} has more than {REPLAY_LIMIT} events; export parts of it")
    session, target = found[0], destination or Path(f"session-{found[0][:8]}.ipynb")
    if target.suffix != ".ipynb":
        raise Malformed(f"{target}: a notebook's file ends with .ipynb")
    teller.tell("replay", f"session={session}", len(leaves), with_values=True)
    made = {_beside(target, name): text for name, text in retold(record, session, leaves).items()}
    for path in made:
        if path.exists():
            raise Refused("audit.exists", f"{path} exists; a replay replaces nothing")
    for path, text in made.items():
        with files.translated(path):
            files.write_new(path, text.encode())
    return list(made)


def _beside(target: Path, name: str) -> Path:
    return target if name == NOTEBOOK else target.with_name(f"{target.stem}-{name}")


NOTEBOOK = "session.ipynb"


def retold(record: Record, session: str, leaves: list[int]) -> dict[str, str]:
    """What a session's replay is made of, by name: ``NOTEBOOK``, and ``terminal-1.cast`` and so on."""
    from jupyter_hpcsec.ops.audit.replay import KINDS, as_text, notebook  # noqa: PLC0415 - nbformat takes a second

    finder = values.Finder(record.layout)
    seen = [
        Seen(shown.leaf, shown.event, sealed(finder, shown.leaf, shown.event.get("sealed", {})))
        for shown in record.events(leaves)
        if shown.event["kind"].startswith(KINDS)
    ]
    casts = enumerate(terminals(session, seen).values(), 1)
    return {
        NOTEBOOK: as_text(notebook(session, record.verifier.name, seen)),
        **{f"terminal-{number}.cast": cast for number, cast in casts},
    }


def shred(record: Record, name: str, value: str, reason: str, socket: Path, progress: Progress) -> int:
    """Destroy a sealed value, by the gateway: it is the one writer. The leaf whose value it was."""
    leaf = record.leaf_of(name, progress)
    call = AdminClient(socket).audit_read(action="shred", query=reason, found=0, leaf=leaf, name=value)
    asyncio.run(call)
    return leaf


def retain(socket: Path, events_days: int, values_days: int) -> str:
    """Remove what is older, by the gateway: it is the one writer. A sentence of what remains."""
    if not events_days and not values_days:
        raise Malformed("say what is to be removed: --older-than 365d, --values-older-than 30d, or both")
    left = asyncio.run(AdminClient(socket).audit_retain(events_days=events_days, values_days=values_days))
    return f"The record begins with event {left['events']} now, sealed values with those of event {left['values']}."


def tail(
    record: Record,
    question: Question,
    last: int,
    teller: Teller,
    *,
    follow: bool,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[Shown]:
    """The last events that answer, then with ``follow`` those that come, as soon as they are durable."""
    teller.tell("tail", str(question), 0)
    at, found = 0, list[Shown]()
    size = record.reader.checkpoint().size
    window = max(0, size - 256 * max(1, last))
    for leaf, data in record.reader.durable(window):
        at = leaf + 1
        shown = Shown(leaf, json.loads(data))
        if matches(question, shown):
            found = [*found[-(last - 1) :], shown] if last > 1 else [shown]
    yield from found
    while follow:
        pause(POLL_S)
        for leaf, data in record.reader.durable(at):
            at = leaf + 1
            shown = Shown(leaf, json.loads(data))
            if matches(question, shown):
                yield shown


def matches(question: Question, shown: Shown) -> bool:
    """Whether an event answers, by all that is asked but free text."""
    row = dict(zip(COLUMNS, row_of(shown.leaf, shown.event), strict=True))
    asked = {name: getattr(question, name) for name in ("server", "job", "node", "source", "decision", "trust")}
    if any(value and row[name] != value for name, value in asked.items()):
        return False
    if question.session and not (row["session"] and row["session"].startswith(question.session.removesuffix("*"))):
        return False
    if question.user and question.user not in (row["user"], row["impersonator"]):
        return False
    for column, value in (("object", question.path), ("kind", question.kind), ("rule", question.rule)):
        if value and not (row[column].startswith(value[:-1]) if value.endswith("*") else row[column] == value):
            return False
    return question.since <= row["time"] and (not question.until or row["time"] < question.until)


def parse_time(text: str, now: datetime, *, is_end: bool = False) -> str:
    """A time as events have it, from a day (as an end: that day included), an ISO 8601 time, or ``6h`` ago."""
    try:
        if ago := _AGO.fullmatch(text):
            moment = now - timedelta(**{{"m": "minutes", "h": "hours", "d": "days"}[ago[2]]: int(ago[1])})
        else:
            moment = datetime.fromisoformat(text)
            moment += timedelta(days=1 if is_end and _DAY.fullmatch(text) else 0)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment
    except (ValueError, OverflowError) as exc:  # also a time before the first year or after the last
        raise Malformed(f"{text!r} is no time: a day (2026-01-31), an ISO 8601 time, or 90m, 6h, 3d") from exc
    return moment.replace(tzinfo=None).isoformat(timespec="seconds")
