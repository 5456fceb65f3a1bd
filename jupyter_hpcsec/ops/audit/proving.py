"""Verifying a record from the command line: with a key and checkpoints that were kept elsewhere, and a progress bar."""

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TextIO

from tqdm import tqdm

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.cosign import WitnessKey
from jupyter_hpcsec.audit.index import Index
from jupyter_hpcsec.audit.layout import Layout
from jupyter_hpcsec.audit.notes import NOTE_LIMIT, Verifier, open_checkpoint
from jupyter_hpcsec.audit.proofs import Prover
from jupyter_hpcsec.audit.reader import Reader
from jupyter_hpcsec.audit.recovery import read_verifier
from jupyter_hpcsec.audit.verify import Report, verify
from jupyter_hpcsec.errors import Malformed, Unavailable
from jupyter_hpcsec.ops.audit.reading import Record


def say(words: str) -> None:
    """A line for people, beside the output."""
    print(words, file=sys.stderr, flush=True)


class Bar:
    """A progress bar on a terminal; elsewhere nothing."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._bar: tqdm[NoReturn] | None = None

    def __call__(self, done: int, of: int) -> None:
        """``done`` of ``of`` events."""
        if self._bar is None:
            tqdm.monitor_interval = 0  # no thread for it: the pages of events come often enough
            self._bar = tqdm(total=of, file=self._out, disable=not self._out.isatty(), unit=" events", unit_scale=True)
        self._bar.update(done - self._bar.n)
        if done >= of:
            self._bar.close()
            self._bar = None


def whole(
    directory: Path,
    *,
    key: str,
    checkpoints: Path | None,
    since: Path | None,
    with_index: bool,
    progress: Callable[[int, int], None],
    processes: int = 0,
    witnesses: Sequence[str] = (),
    cosigned: Sequence[Path] = (),
) -> Report:
    """Verify everything. ``key`` is the public key's text, or empty for the one beside the record.

    ``witnesses`` are public keys, ``cosigned`` the files of what each of them cosigned last.
    """
    if len(witnesses) != len(cosigned):
        raise Malformed("each --witness KEY needs its --cosigned FILE, in the same order")
    layout = Layout(directory)
    if not directory.is_dir():
        raise Unavailable(f"there is no record in {directory}")
    verifier = Verifier.parse(key) if key else None
    kept = None
    if since is not None:
        trusted = verifier or read_verifier(layout)
        with files.translated(since):
            kept = open_checkpoint(files.read(since, NOTE_LIMIT), trusted, trusted.name)
    report = verify(
        layout,
        verifier=verifier,
        second_place=checkpoints,
        since=kept,
        cosigned=[(WitnessKey.parse(text), path) for text, path in zip(witnesses, cosigned, strict=True)],
        progress=progress,
        processes=processes,
    )
    if with_index and report.holds and layout.index.exists():
        trusted = read_verifier(layout)
        try:
            with contextlib.closing(Index(layout.index, Reader(layout, trusted), trusted)) as index:
                report.findings += index.differences()
        except Unavailable as error:
            raise Unavailable(f"{error.reason} The record itself holds.") from error
    return report


def one(directory: Path, name: str, key: str, progress: Bar) -> str:
    """Verify one event's inclusion; a sentence. ``Malformed`` where it does not hold."""
    record = Record(directory)
    verifier = Verifier.parse(key) if key else record.verifier
    leaf = record.leaf_of(name, progress)
    prover = Prover(record.layout, verifier)
    number = len(prover.one(leaf).proof)
    head = prover.head
    return f"Event {leaf} is in the log {head.origin} at {head.size} events: a proof of {number} hashes holds."
