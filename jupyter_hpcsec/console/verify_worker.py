"""The process that verifies a record for the console: asked by one line of JSON, it answers by lines of JSON.

It reads, at the lowest priority, and changes nothing. In: ``Order``. Out: any number of ``{"done", "of"}``, then one
``Outcome``. It is a process of its own so that it can be ended at any time, and keeps no page waiting.
"""

import os
import sys
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from jupyter_hpcsec.errors import HpcsecError

NICE = 10
TELL_S = 0.25
FINDINGS = 100
"""Findings that are told; all are counted."""


class Order(Struct, frozen=True, forbid_unknown_fields=True):
    """What to verify: the record, its second place and its witness, each by path, empty where there is none."""

    directory: str
    second_place: str = ""
    witness: str = ""
    cosigned: str = ""
    with_index: bool = False


class Told(Struct, frozen=True):
    """One finding, as ``audit.findings.Finding``."""

    what: str
    where: str
    sentence: str
    first: int | None = None
    last: int | None = None


class Outcome(Struct, frozen=True, kw_only=True):
    """What was verified and found. ``error`` says why nothing could be."""

    size: int = 0
    root: str = ""
    in_journal: int = 0
    checkpoints: int = 0
    values: int = 0
    removed: list[str] = []
    witnessed: list[str] = []
    findings: list[Told] = []
    total: int = 0
    error: str = ""


class Progress(Struct, frozen=True):
    """Events that were read, of how many."""

    done: int
    of: int


def verify(order: Order) -> Outcome:
    """Do it; progress goes to standard output."""
    from jupyter_hpcsec.ops.audit import proving  # noqa: PLC0415 - the order is read first

    last = 0.0

    def tell(done: int, of: int) -> None:
        nonlocal last
        if time.monotonic() - last >= TELL_S or done >= of:
            last = time.monotonic()
            say(Progress(done, of))

    report = proving.whole(
        Path(order.directory),
        key="",
        checkpoints=Path(order.second_place) if order.second_place else None,
        since=None,
        with_index=order.with_index,
        progress=tell,
        processes=1,
        witnesses=[order.witness] if order.witness else [],
        cosigned=[Path(order.cosigned)] if order.witness else [],
    )
    return Outcome(
        size=report.size,
        root=report.root,
        in_journal=report.in_journal,
        checkpoints=report.checkpoints,
        values=report.values,
        removed=report.removed,
        witnessed=report.witnessed,
        findings=[
            Told(each.what, each.where, each.sentence, each.first, each.last) for each in report.findings[:FINDINGS]
        ],
        total=len(report.findings),
    )


def say(value: Struct) -> None:
    """One line."""
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


def main() -> int:
    """Take one order; the exit status."""
    os.nice(NICE)
    try:
        say(verify(msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)))
    except (HpcsecError, msgspec.DecodeError, OSError) as error:
        say(Outcome(error=str(error)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
