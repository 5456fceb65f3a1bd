"""Checks of the audit record: it can be written, nothing was lost, and who would notice a change of it is there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jupyter_hpcsec.ops.doctor import files
from jupyter_hpcsec.ops.doctor.finding import Finding, bad, ok, unknown, warn
from jupyter_hpcsec.ops.doctor.world import World

HOP = "record"
LITTLE, TOO_LITTLE = 2 << 30, 256 << 20
"""Bytes free where it is written."""
WITNESS_AGE_S = 86_400
"""A witness that has not cosigned for so long is asleep."""


def examine(world: World, audit: object, owner: int) -> list[Finding]:
    """What the gateway says of its record, and the modes of its files; ``owner`` is the gateway's uid."""
    if not isinstance(audit, Mapping) or "durable" not in audit:
        return [unknown(HOP, "the gateway does not say how its audit record is", "upgrade the gateway")]
    findings = [judge_writing(audit), judge_lost(audit)]
    if "directory" in audit:
        directory = Path(str(audit["directory"]))
        findings += [
            judge_space(audit.get("free_bytes")),
            judge_second_place(audit),
            judge_witness(audit.get("witness"), int(audit["durable"]), world.now()),
            judge_retention(int(audit.get("retention_days", 0)), int(audit.get("values_days", 0))),
            files.examine(world, HOP, directory, kind="directory", widest=0o700, owner=owner),
            files.examine(world, HOP, directory / "signer.key", kind="file", widest=0o600, owner=owner),
            files.examine(world, HOP, Path(str(audit["second_place"])), kind="file", widest=0o600, owner=owner),
        ]
    return findings


def judge_writing(audit: Mapping[str, Any]) -> Finding:
    """Whether events become durable."""
    if audit.get("failing"):
        fix = "make room on its disk, or mend that; it goes on by itself (docs: security/audit)"
        return bad(HOP, f"it can't be written, so nothing new begins: {audit['failing']}", fix)
    return ok(HOP, f"{audit['durable']} events are durable, {audit.get('published', 0)} under a checkpoint")


def judge_lost(audit: Mapping[str, Any]) -> Finding:
    """Whether events could not be recorded."""
    lost = int(audit.get("lost", 0))
    if lost:
        fix = "hpcsec audit query --kind audit.gap says which kinds, since when and why"
        return warn(HOP, f"{lost} events could not be recorded since the gateway started", fix)
    return ok(HOP, "no event was lost since the gateway started")


def judge_space(free: object) -> Finding:
    """How much room there is."""
    if not isinstance(free, int):
        return unknown(HOP, "the room on its disk is not known", "look at it with df")
    shown = f"{free / (1 << 30):.1f} GiB free on its disk"
    fix = "make room: when it is full, no session starts; audit_retention_days removes what is old"
    if free < TOO_LITTLE:
        return bad(HOP, shown, fix)
    return warn(HOP, shown, fix) if free < LITTLE else ok(HOP, shown)


def judge_second_place(audit: Mapping[str, Any]) -> Finding:
    """Whether a record that is rolled back would be noticed."""
    if audit.get("is_apart") is None:
        fix = f"make {audit['second_place']} reachable for the gateway's user"
        return bad(HOP, "its second place can't be looked at", fix)
    if not audit["is_apart"]:
        fix = "set audit_checkpoints to a file on another host's file system, append-only (docs: security/audit)"
        return warn(HOP, "its second place is on the same file system: who changes one can change both", fix)
    return ok(HOP, f"its second place is on another file system: {audit['second_place']}")


def judge_witness(witness: object, durable: int, now: float) -> Finding:
    """Whether another host looks at it, and when it did last."""
    if not isinstance(witness, Mapping):
        return ok(HOP, "no witness is configured (hpcsec audit witness, on another host)")
    fix = "look at the witness's host: its command says what is wrong"
    if "error" in witness:
        return warn(HOP, f"what the witness cosigned can't be taken: {witness['error']}", fix)
    if int(witness["size"]) > durable:
        return bad(HOP, f"the witness cosigned {witness['size']} events, there are {durable}", "hpcsec audit verify")
    age_s = max(0, int(now - float(witness["time"])))
    shown = f"the witness cosigned {witness['size']} events {age_s // 60} minutes ago"
    return warn(HOP, shown, fix) if age_s > WITNESS_AGE_S else ok(HOP, shown)


def judge_retention(events_days: int, values_days: int) -> Finding:
    """For how long it is kept: for people to read, either is right."""
    events = f"events are kept {events_days} days" if events_days else "events are kept for ever"
    values = f", sealed values {values_days} days" if values_days else ""
    return ok(HOP, events + values)
