"""What changes while a session lives, as the agent writes it down (``hub.session_files``): certificate, end, staleness.

Read for the user's eyes; nothing is decided by it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from jupyter_hpcsec.errors import Malformed, Unavailable
from jupyter_hpcsec.server.facts import SESSION_VARIABLE, SessionFacts

RECORDS_VARIABLE = "JUPYTER_HPCSEC_RECORDS"
"""Where users find their own records, as a path on the hub's host; empty or not set where there is no such page."""
CERTIFICATE_FILE, STALE_FILE = "certificate.json", "stale.json"
"""Beside the file that ``SESSION_VARIABLE`` names."""
SIZE_LIMIT = 16 * 1024

RECORDED = {
    "sessions": "When your sessions start and end, on which node, when connections come and go, and what was refused.",
    "browser": "What your browser does here: requests, the names and sizes of files that you read, save, download or "
    "delete, the use of kernels and terminals.",
    "contents": "Files' contents are not recorded, nor is what your code does on the node.",
    "readers": "Only security staff can read the whole record, and each reading of it is recorded, too.",
}
"""What is recorded about every user, in plain words; ``docs/users/index.md`` says the same. By the codes JupyterLab
says it in its user's language (``labextension/src/served.ts``)."""
LEVEL = "level"
"""The code of what the site has chosen: ``recording`` says it in values, too."""


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
    the agent has said it, ``stale`` is None while the rules are as they were. ``records`` leads to the user's own
    records, and is empty where there is no such page.
    """
    directory = Path(environment[SESSION_VARIABLE]).parent
    certificate = _read(directory / CERTIFICATE_FILE, _Certificate)
    said = {**RECORDED, LEVEL: facts.recording.get("text", "")}
    return facts.for_browser() | {
        "ends_at": certificate.ends_at if certificate and certificate.ends_at else facts.ends_at,
        "certificate_ends_at": certificate.not_after if certificate else None,
        "stale": read_stale(environment),
        "records": environment.get(RECORDS_VARIABLE, ""),
        "recorded": [{"code": code, "text": text} for code, text in said.items() if text],
    }


def read_stale(environment: Mapping[str, str]) -> dict[str, Any] | None:
    """``since`` and ``ends_at`` in Unix seconds and the ``reason``, a sentence; None while the rules are as they were,
    and outside of a session. ``Unavailable`` or ``Malformed`` when that can't be read.
    """
    path = environment.get(SESSION_VARIABLE)
    stale = _read(Path(path).parent / STALE_FILE, _Stale) if path else None
    return msgspec.to_builtins(stale) if stale else None


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
