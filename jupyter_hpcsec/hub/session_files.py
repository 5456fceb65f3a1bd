"""The files by which the agent tells the server extension, and so the user, what the session is and what it may do.

They lie in the job's private directory. Nothing that protects relies on them: the user could write them, too.
"""

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from jupyter_hpcsec.access.values import Resolved, digest
from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.hub.job_environment import JobEnvironment
from jupyter_hpcsec.hub.runtime_directory import RuntimeDirectory
from jupyter_hpcsec.tunnel.messages import Enrolled, Stale

Receipt = Mapping[str, str | int]


def write_facts(directory: RuntimeDirectory, job: JobEnvironment, enrolled: Enrolled, receipt: Receipt) -> None:
    """The session itself; ``receipt`` is the sandbox's word on what is enforced."""
    facts = {
        "user": enrolled.user,
        "server": enrolled.server,
        "session": enrolled.session,
        "job": job.job_id,
        "node": job.node,
        "ends_at": min(enrolled.ends_at, job.ends_at or enrolled.ends_at),
        "endpoints": list(job.endpoints),
        "ca_pin": hashlib.sha256(job.ca).hexdigest(),
        "protections": dict(receipt),
    }
    _write(directory.session_file, facts)


def write_access(directory: RuntimeDirectory, access: Resolved, receipt: Receipt) -> None:
    """The user's rules, their hash, and the receipt."""
    facts = {"rules": msgspec.to_builtins(access), "digest": digest(access), "receipt": dict(receipt)}
    _write(directory.access_file, facts)


def write_stale(directory: RuntimeDirectory, stale: Stale, log: logging.Logger) -> None:
    """Until when the session goes on; the file goes when that is no longer so. A full disk ends no session."""
    try:
        if stale.ends_at:
            _write(directory.stale_file, {"since": stale.since, "ends_at": stale.ends_at, "reason": stale.reason})
        else:
            directory.stale_file.unlink(missing_ok=True)
    except (OSError, Unavailable) as error:
        log.warning("the user can't be told that the rules have changed: %s", error)


def certificate_writer(directory: RuntimeDirectory, log: logging.Logger) -> Callable[[int, int], None]:
    """What is told of each certificate until when it is good, and when the session ends; both in Unix seconds.

    The first end bounds the job's time limit from above. Only a later one says when the job ends; else 0 is written.
    """
    first = 0

    def write(not_after: int, ends_at: int) -> None:
        nonlocal first
        first = first or ends_at
        try:
            _write(directory.certificate_file, {"not_after": not_after, "ends_at": ends_at if ends_at > first else 0})
        except Unavailable as error:  # a full disk ends no session
            log.warning("the user can't be told how long the certificate lives: %s", error)

    return write


def _write(path: Path, facts: Mapping[str, Any]) -> None:
    """Whole or not at all: a reader finds the old file or the new one."""
    fresh = path.with_name(f"{path.stem}.{secrets.token_hex(4)}")  # nobody can be there before
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o400)
        with os.fdopen(descriptor, "w") as file:
            json.dump(facts, file)
        fresh.rename(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise Unavailable(
            f"The session's directory {path.parent} can't be written to on this node: {error.strerror}."
        ) from error
