"""What the gateway can say of its audit record's surroundings: disk, second place, witness, what is kept for how long.

Facts for ``hpcsec doctor``; nothing here is judged, and what can't be found out is said as such.
"""

import os
from pathlib import Path
from typing import Any

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.cosign import Cosigned, WitnessKey, open_cosigned
from jupyter_hpcsec.audit.notes import NOTE_LIMIT, Verifier
from jupyter_hpcsec.config import GatewaySettings
from jupyter_hpcsec.errors import HpcsecError


def facts(settings: GatewaySettings, key: Verifier) -> dict[str, Any]:
    """Facts of now, for the record that ``key`` signs."""
    directory, checkpoints = settings.record
    return {
        "directory": str(directory),
        "second_place": str(checkpoints),
        "free_bytes": _free(directory),
        "is_apart": _is_apart(directory, checkpoints),
        "retention_days": settings.audit_retention_days,
        "values_days": settings.audit_values_days,
        "witness": _witness(settings, key),
        "witness_key": settings.audit_witness or "",
        "cosigned": str(settings.audit_cosigned or ""),
        "forward": str(settings.forward),
    }


def cosigned(settings: GatewaySettings, key: Verifier) -> Cosigned | None:
    """What the witness cosigned last; None where none is configured. ``HpcsecError``."""
    if not settings.audit_witness or settings.audit_cosigned is None:
        return None
    with files.translated(settings.audit_cosigned):
        note = files.read(settings.audit_cosigned, NOTE_LIMIT)
    return open_cosigned(note, key, WitnessKey.parse(settings.audit_witness))


def _witness(settings: GatewaySettings, key: Verifier) -> dict[str, Any] | None:
    try:
        seen = cosigned(settings, key)
    except HpcsecError as error:
        return {"error": str(error)}
    return None if seen is None else {"size": seen.checkpoint.size, "time": seen.time}


def _free(directory: Path) -> int | None:
    try:
        found = os.statvfs(directory)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def _is_apart(directory: Path, checkpoints: Path) -> bool | None:
    """Whether the second place is on another file system than the record."""
    try:
        return directory.stat().st_dev != checkpoints.stat().st_dev
    except OSError:
        return None
