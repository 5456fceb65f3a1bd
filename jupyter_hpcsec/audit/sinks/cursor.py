"""How far a sink is: one small file, replaced and fsync'd after each acknowledgement, readable by who shows the lag."""

import json
from pathlib import Path

import msgspec
from msgspec import Struct

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.errors import Malformed, Refused, Unavailable

LIMIT = 16 << 10
SUFFIX = ".cursor"


class Cursor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``next`` is the first event that the receiver has not acknowledged, in the record of the key ``log``.

    ``rejected`` counts those that it refused, ``missed`` those that retention removed before they were
    sent; ``error`` says why it does not go on, since when (Unix seconds).
    """

    v: int = 1
    log: str
    next: int = 0
    rejected: int = 0
    missed: int = 0
    error: str = ""
    since: int = 0


def path_of(state: Path, name: str) -> Path:
    """The cursor of the sink of this name."""
    return state / f"{name}{SUFFIX}"


def load(path: Path) -> Cursor | None:
    """What stands in the file; None where there is none. ``Malformed``, ``Refused``, ``Unavailable``."""
    try:
        with files.translated(path):
            files.check(path, path.lstat(), "0600")
            data = files.read(path, LIMIT)
    except Unavailable as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    try:
        return msgspec.json.decode(data, type=Cursor)
    except msgspec.DecodeError as exc:
        raise Malformed(f"{path} can't be read ({exc}); without it the sink begins with the first event") from exc


def save(path: Path, cursor: Cursor) -> None:
    """Durable when this returns. ``Unavailable``."""
    with files.translated(path):
        files.replace(path, json.dumps(msgspec.to_builtins(cursor), indent=1).encode() + b"\n")


def take_up(path: Path, log: str, first: int, durable: int) -> Cursor:
    """Where to go on. A new sink, or another record, begins with the ``first`` event that retention has left.

    A record that is shorter than what was sent was rolled back: ``Refused``.
    """
    cursor = load(path)
    if cursor is None or cursor.log != log:
        return Cursor(log=log, next=first)
    if cursor.next > durable:
        raise Refused(
            "audit.rolled-back",
            f"{path.stem} was sent {cursor.next} events, the record has {durable}: it was rolled back. Keep it, run"
            " `hpcsec audit verify`, and start a new record in another directory.",
        )
    return cursor


def all_of(state: Path) -> dict[str, Cursor]:
    """All sinks that ever sent something, by name. ``Malformed``, ``Refused``, ``Unavailable``."""
    if not state.is_dir():
        return {}
    with files.translated(state):
        paths = sorted(path for path in state.iterdir() if path.suffix == SUFFIX)
    found = {path.stem: load(path) for path in paths}
    return {name: cursor for name, cursor in found.items() if cursor is not None}
