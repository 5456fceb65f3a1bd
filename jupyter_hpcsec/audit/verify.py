"""Verifies a record: every byte of it is accounted for, by a signature or by what is signed.

It needs the public key from somewhere else than the record's directory to mean anything against somebody who can write
there; without the second place it can't tell a record that was rolled back from one that is young.
"""

import contextlib
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jupyter_hpcsec.audit import files, secondplace, values
from jupyter_hpcsec.audit.cosign import WitnessKey, open_cosigned
from jupyter_hpcsec.audit.facts import Facts
from jupyter_hpcsec.audit.findings import Finding
from jupyter_hpcsec.audit.journal import SEGMENT_LIMIT, Frame, parse_segment, rest_of
from jupyter_hpcsec.audit.layout import Layout
from jupyter_hpcsec.audit.merkle import Frontier, leaf_hash
from jupyter_hpcsec.audit.notes import NOTE_LIMIT, Checkpoint, Signer, Verifier
from jupyter_hpcsec.audit.recovery import KEY_LIMIT, read_checkpoint, read_verifier
from jupyter_hpcsec.audit.stamps import timestamp
from jupyter_hpcsec.audit.verify_read import Progress, read_all
from jupyter_hpcsec.audit.verify_removed import check_removed
from jupyter_hpcsec.audit.verify_tree import Tree, check_files, judge, tell
from jupyter_hpcsec.errors import HpcsecError

KNOWN_FILES = {"signer.key", "verifier.key", "lock", "index.sqlite", "index.sqlite-wal", "index.sqlite-shm", "removed"}
KNOWN_DIRECTORIES = {"log", "journal", "values", "set-aside"}
FIRST_CHECKPOINT = 50
"""Tenths of a second for which a writer's first checkpoint is waited for."""


@dataclass
class Report:
    """What was verified: events under the checkpoint, events in the journal, checkpoints of the second place."""

    origin: str
    size: int = 0
    root: str = ""
    in_journal: int = 0
    checkpoints: int = 0
    values: int = 0
    removed: list[str] = field(default_factory=list)
    witnessed: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def verify(
    layout: Layout,
    *,
    verifier: Verifier | None = None,
    second_place: Path | None = None,
    since: Checkpoint | None = None,
    cosigned: Sequence[tuple[WitnessKey, Path]] = (),
    progress: Progress = lambda done, of: None,
    processes: int = 0,
) -> Report:
    """Verify a whole record; ``since`` is a checkpoint that somebody kept, ``verifier`` a key that somebody kept.

    ``cosigned`` are witnesses with the files of what they cosigned last.
    ``processes`` read it; 0 stands for as many as there are cores. What is found does not depend on it.
    """
    report = Report(verifier.name if verifier else "")
    try:
        beside = read_verifier(layout)
    except HpcsecError as error:
        report.findings.append(Finding("key.public", "verifier.key", error.reason))
        if verifier is None:
            return report
        beside = verifier
    if verifier is not None and beside != verifier:
        report.findings.append(Finding("key.public", "verifier.key", "this is not the key that was expected"))
    key = verifier or beside
    live = files.is_locked(layout.lock)
    report.origin = key.name
    _check_signer(layout, key, report.findings)
    elsewhere = _read_elsewhere(second_place, key, report)
    kept = [(f"second place, line {number}", checkpoint) for number, checkpoint in elsewhere]
    kept += [("the checkpoint that was given", since)] if since else []
    kept += _read_cosigned(cosigned, key, report)
    head = _read_head(layout, key, elsewhere, report.findings, live=live)
    report.size, report.root = head.size, head.root.hex()
    read = read_all(layout, head.size, progress, processes)
    facts = read.facts
    tree = Tree(head.size, read.hashed, read.events, findings=read.findings)
    judge(tree, layout, head.root)
    _check_journal(layout, tree, head, key, facts, report, live=live)
    gone = check_removed(layout, facts, read.missing, tree.roots_at, live=live)
    report.removed = gone.told
    report.findings += gone.findings
    tell(tree, layout, gone.bundles)
    check_files(tree, layout, live=live)
    report.findings += tree.findings
    _check_elsewhere(tree, head, kept, report)
    report.findings += facts.findings
    _check_values(layout, facts, report, live=live)
    _check_aside(layout, facts, report)
    _check_directory(layout, report.findings)
    return report


def _check_signer(layout: Layout, key: Verifier, findings: list[Finding]) -> None:
    """Where we may read it: the private key is whole, and that of the public one."""
    try:
        text = files.read(layout.signer, KEY_LIMIT).decode("utf-8", errors="replace")
    except PermissionError:
        return
    except (OSError, HpcsecError) as error:
        findings.append(Finding("key.private", "signer.key", f"it can't be read: {error}"))
        return
    try:
        signer = Signer.parse(text.removesuffix("\n"))
        if signer.verifier != key or signer.secret() + "\n" != text:
            findings.append(Finding("key.private", "signer.key", "it is not that of the public key"))
    except HpcsecError as error:
        findings.append(Finding("key.private", "signer.key", error.reason))


def _read_elsewhere(path: Path | None, key: Verifier, report: Report) -> list[tuple[int, Checkpoint]]:
    if path is None:
        return []
    try:
        lines = secondplace.read_all(path, key, key.name)
    except (OSError, HpcsecError) as error:
        report.findings.append(Finding("second-place.missing", str(path), f"it can't be read: {error}"))
        return []
    good = []
    for number, line in lines:
        if isinstance(line, Checkpoint):
            good.append((number, line))
        else:
            report.findings.append(Finding("second-place.altered", f"{path}:{number}", line.reason))
    return good


def _read_cosigned(
    cosigned: Sequence[tuple[WitnessKey, Path]], key: Verifier, report: Report
) -> list[tuple[str, Checkpoint]]:
    found = []
    for witness, path in cosigned:
        try:
            seen = open_cosigned(files.read(path, NOTE_LIMIT), key, witness)
        except (OSError, HpcsecError) as error:
            report.findings.append(Finding("witness.cosignature", str(path), f"{witness.name} cosigned none: {error}"))
            continue
        when = timestamp(seen.time * 10**9)
        report.witnessed.append(f"{witness.name} cosigned {seen.checkpoint.size} events at {when}")
        found.append((f"what {witness.name} cosigned", seen.checkpoint))
    return found


def _read_head(
    layout: Layout, key: Verifier, elsewhere: list[tuple[int, Checkpoint]], findings: list[Finding], *, live: bool
) -> Checkpoint:
    """The head to verify against: the checkpoint, or where that is broken the newest that the second place has."""
    try:
        for _ in range(FIRST_CHECKPOINT if live else 0):  # tiles are there a moment before the first checkpoint is
            if layout.checkpoint.exists() or not (layout.log / "tile").exists():
                break
            time.sleep(0.1)
        found = read_checkpoint(layout, key)
        said = "it is gone" if found is None and (layout.log / "tile").exists() else ""
    except HpcsecError as error:
        found, said = None, error.reason
    if said:
        findings.append(Finding("checkpoint.broken", "log/checkpoint", said))
        if elsewhere:
            return elsewhere[-1][1]
    return found or Checkpoint(key.name, 0, Frontier().root())


def _check_elsewhere(tree: Tree, head: Checkpoint, kept: list[tuple[str, Checkpoint]], report: Report) -> None:
    """The log begins with every log that a checkpoint was kept of, and none is newer."""
    roots = tree.roots_at({checkpoint.size for _, checkpoint in kept})
    newest = 0
    for where, checkpoint in kept:
        report.checkpoints += 1
        if checkpoint.size > head.size and checkpoint.size > newest:
            said = f"{checkpoint.size} events were under a checkpoint, now {head.size} are"
            report.findings.append(Finding("log.rolled-back", where, said, head.size, checkpoint.size - 1))
            newest = checkpoint.size
        elif checkpoint.size <= head.size and roots.get(checkpoint.size) != checkpoint.root:
            said = "the log is another one than it was when this checkpoint was signed"
            report.findings.append(Finding("log.forked", where, said, 0, max(0, checkpoint.size - 1)))


def _check_journal(
    layout: Layout, tree: Tree, head: Checkpoint, key: Verifier, facts: Facts, report: Report, *, live: bool
) -> None:
    """Every frame is signed; it repeats what is in the tree, or goes on from it without a gap.

    Where a writer is at work, segments go when they are published, and the last frame may be half there.
    """
    try:
        segments = _read_segments(layout)
        strays = {path.name for path in layout.journal.iterdir()} - {path.name for path, _ in segments}
    except (OSError, HpcsecError) as error:
        report.findings.append(Finding("journal.missing", "journal", f"it can't be read: {error}"))
        return
    if not live:
        report.findings += [Finding("file.stray", f"journal/{name}", "this is no segment") for name in sorted(strays)]
    frontier = tree.frontier()
    for number, (path, data) in enumerate(segments):
        frames, good = parse_segment(data)
        where = f"journal/{path.name}"
        rest = rest_of(data, good)
        if rest and not (live and number == len(segments) - 1):
            said = f"{len(rest)} bytes at its end are damaged, or a write that did not end"
            report.findings.append(Finding("journal.unfinished", where, said, frames[-1].end if frames else None))
        for frame in frames:
            if live and frame.first > frontier.size:  # published since the checkpoint was read
                return
            _check_frame(frame, where, tree, frontier, key, facts, report)
    report.in_journal = frontier.size - head.size


def _read_segments(layout: Layout) -> list[tuple[Path, bytes]]:
    found = []
    for _, path in layout.segments():
        with contextlib.suppress(FileNotFoundError):  # published meanwhile
            found.append((path, files.read(path, SEGMENT_LIMIT)))
    return found


def _check_frame(
    frame: Frame, where: str, tree: Tree, frontier: Frontier, key: Verifier, facts: Facts, report: Report
) -> None:
    try:
        signed = frame.head(key, key.name)
    except HpcsecError as error:
        report.findings.append(Finding("journal.altered", where, error.reason, frame.first, frame.end - 1))
        return
    if frame.first > frontier.size:
        said = "the journal has no such events, but later ones"
        report.findings.append(Finding("journal.hole", where, said, frontier.size, frame.first - 1))
        return
    for index, leaf in enumerate(frame.leaves, frame.first):
        hashed = leaf_hash(leaf)
        if index >= frontier.size:
            frontier.append(hashed)
            facts.take(index, [leaf])
        elif index < tree.size and not tree.has(index, hashed):
            report.findings.append(Finding("journal.altered", where, "the log has another event there", index))
    if frame.end == frontier.size and (signed.size, signed.root) != (frontier.size, frontier.root()):
        said = "its signed root is not that of its events"
        report.findings.append(Finding("journal.altered", where, said, frame.first, frame.end - 1))


def _check_values(layout: Layout, facts: Facts, report: Report, *, live: bool) -> None:
    """Every sealed value is there and is the one that was committed to, or an event says that it was shredded."""
    seen: dict[tuple[int, str], bool] = {}
    for path in sorted(layout.values.iterdir()) if layout.values.is_dir() else []:
        where = f"values/{path.name}"
        try:
            kept = values.read_file(path)
        except (OSError, HpcsecError) as error:
            report.findings.append(Finding("value.damaged", where, str(error)))
            kept = []
        for each in kept:
            place = (each.leaf, each.name)
            if live and each.leaf >= report.size + report.in_journal:
                continue
            known = facts.sealed.get(place)
            if known is None or place in seen or layout.value_file(each.leaf) != path:
                said = "no event has such a value, or it stands twice or in the wrong file"
                report.findings.append(Finding("value.stray", where, said, each.leaf))
            elif each.value is not None and values.commitment(each.salt, each.name, each.value) != known:
                report.findings.append(Finding("value.altered", where, f"{each.name} was changed", each.leaf))
            seen[place] = each.value is None
    report.values = len(seen)
    _check_kept(facts, seen, report, live=live)


def _check_kept(facts: Facts, seen: dict[tuple[int, str], bool], report: Report, *, live: bool) -> None:
    """Every value that was sealed is there, unless an event says why not. ``seen``: those with a line, whether gone."""
    removed = facts.removed("values")
    for place in facts.sealed:
        is_gone, is_told = seen.get(place, True), place in facts.shredded
        if place[0] < removed:
            said = "" if is_gone or live else "was to be removed by retention, but is there"
        elif is_gone and not is_told:
            said = "is gone, no event says why"
        elif is_told and not is_gone:
            said = "was to be shredded, but is there"
        else:
            said = "" if place in seen else "is gone, with the line that tells of it"
        if said:
            what = "value.gone" if is_gone else "value.kept"
            report.findings.append(Finding(what, "values", f"{place[1]} {said}", place[0]))


def _check_aside(layout: Layout, facts: Facts, report: Report) -> None:
    """What was set aside: whole frames that the log has too, and a rest whose hash an event holds."""
    told = set(facts.aside)
    for path in sorted(layout.aside.iterdir()) if layout.aside.is_dir() else []:
        where = f"set-aside/{path.name}"
        try:
            data = files.read(path, SEGMENT_LIMIT)
        except (OSError, HpcsecError) as error:
            report.findings.append(Finding("set-aside.altered", where, str(error)))
            continue
        # Whole frames may be part of the rest too: those that another segment wrote again.
        ends = [0]
        for frame in parse_segment(data)[0]:
            ends.append(ends[-1] + len(frame.encode()))
        rests = {hashlib.sha256(data[end:]).hexdigest() for end in ends}
        if not rests & facts.aside:
            report.findings.append(Finding("set-aside.altered", where, "no event tells of what is in it"))
        told -= rests
    for digest in sorted(told):
        report.findings.append(Finding("set-aside.missing", "set-aside", f"what has SHA-256 {digest} is gone"))


def _check_directory(layout: Layout, findings: list[Finding]) -> None:
    for path in layout.directory.iterdir():
        is_known = path.name in (KNOWN_DIRECTORIES if path.is_dir() else KNOWN_FILES)
        if not is_known or path.is_symlink():
            findings.append(Finding("file.stray", path.name, "this file is no part of a record"))
