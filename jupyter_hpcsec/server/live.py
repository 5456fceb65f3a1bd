"""What changes while a session lives, as the agent writes it down (``hub.session_files``): certificate, end, staleness.

Read for the user's eyes; nothing is decided by it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from jupyter_hpcsec.errors import Malformed, Unavailable
from jupyter_hpcsec.server.facts import SESSION_VARIABLE, SessionFacts

CERTIFICATE_FILE, STALE_FILE = "certificate.json", "stale.json"
"""Beside the file that ``SESSION_VARIABLE`` names."""
SIZE_LIMIT = 16 * 1024

RECORDED = (
    "When your sessions start and end, on which node, when connections come and go, and what was refused: by the "
    "gateway, in a record that nobody can change unseen.",
    "What you type, run, read or write is not in it.",
    "Each reading of the record with hpcsec audit is recorded, too.",
)
"""What is recorded about the user, in plain words; ``docs/users/index.md`` says the same."""


class _Certificate(msgspec.Struct, frozen=True):
    """``ends_at``: the session's end where the job was given more time, else 0."""

    not_after: int
    ends_at: int


class _Stale(msgspec.Struct, frozen=True):
    since: int
    ends_at: int
    reason: str


T = TypeVar("T", _Certificate, _Stale)


def for_browser(facts: SessionFacts, environment: Mapping[str, str]) -> dict[str, Any]:
    """The session's facts with what has changed since; ``Unavailable`` or ``Malformed`` when that can't be read.

    ``ends_at`` is later than at the start where the job was given more time. ``certificate_ends_at`` is None before
    the agent has said it, ``stale`` is None while the rules are as they were.
    """
    directory = Path(environment[SESSION_VARIABLE]).parent
    certificate = _read(directory / CERTIFICATE_FILE, _Certificate)
    stale = _read(directory / STALE_FILE, _Stale)
    return facts.for_browser() | {
        "ends_at": certificate.ends_at if certificate and certificate.ends_at else facts.ends_at,
        "certificate_ends_at": certificate.not_after if certificate else None,
        "stale": msgspec.to_builtins(stale) if stale else None,
        "recorded": list(RECORDED),
    }


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"The session's facts can't be read from {path}: {error.strerror}.") from error
    if len(content) > SIZE_LIMIT:
        raise Malformed(f"{path.name} of the session has more than {SIZE_LIMIT} bytes.")
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(f"{path.name} of the session is not in the form that this version of hpcsec writes.") from error
