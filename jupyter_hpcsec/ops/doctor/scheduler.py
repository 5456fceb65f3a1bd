"""Checks of the batch system's commands on the hub's host: there, answering, which version, and set as it should be."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from jupyter_hpcsec.ops.doctor.finding import Finding, bad, ok, unknown, warn
from jupyter_hpcsec.ops.doctor.world import Ran, World


@dataclass(frozen=True)
class BatchSystem:
    """What has to be there. ``answers`` ends with 0 only when the controller answered."""

    name: str
    commands: tuple[str, ...]
    version: tuple[str, ...]
    answers: tuple[str, ...]


SLURM = BatchSystem("slurm", ("sbatch", "squeue", "scontrol", "scancel"), ("sbatch", "--version"), ("scontrol", "ping"))
PBS = BatchSystem("pbs", ("qsub", "qstat", "qdel"), ("qstat", "--version"), ("qstat", "-B"))
LSF = BatchSystem("lsf", ("bsub", "bjobs", "bkill"), ("bsub", "-V"), ("lsid",))
SYSTEMS = {system.name: system for system in (SLURM, PBS, LSF)}


def examine(world: World, name: str) -> list[Finding]:
    """``name`` is a key of ``SYSTEMS``, ``auto`` (whichever is found) or ``none``."""
    if name == "none":
        return [ok("scheduler", "none is used here")]
    if name == "auto":
        found = next((system for system in SYSTEMS.values() if world.has_command(system.commands[0])), None)
        if found is None:
            return [
                bad(
                    "scheduler",
                    "no batch system's commands were found (sbatch, qsub, bsub)",
                    "install them on the hub's host, or say --scheduler none for the local spawner",
                )
            ]
    else:
        found = SYSTEMS[name]
    findings = judge_commands(found, {command: world.has_command(command) for command in found.commands})
    if any(finding.fix for finding in findings):
        return findings
    findings = [judge_version(found, world.run(found.version)), judge_answer(found, world.run(found.answers))]
    if found is SLURM and not findings[-1].fix:
        findings += judge_slurm(_settings(world.run(["scontrol", "show", "config"])))
    return findings


def _settings(ran: Ran | None) -> dict[str, str]:
    """``scontrol show config`` prints ``Name   = value`` lines."""
    lines = ran.out.splitlines() if ran is not None and ran.rc == 0 else []
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def judge_commands(system: BatchSystem, found: Mapping[str, bool]) -> list[Finding]:
    """Is every command there?"""
    missing = [command for command in system.commands if not found[command]]
    if missing:
        fix = f"install {system.name}'s client commands and put them in the PATH of hub and gateway"
        return [bad("scheduler", f"{system.name}: {', '.join(missing)} not found", fix)]
    return [ok("scheduler", f"{system.name}: {', '.join(system.commands)} found")]


def judge_version(system: BatchSystem, ran: Ran | None) -> Finding:
    """Which version is it?"""
    number = re.search(r"\d+\.\d+[\w.]*", f"{ran.out}{ran.err}") if ran is not None else None
    if number is None:
        return unknown("scheduler", f"{system.name}: its version can't be read", f"run {' '.join(system.version)}")
    return ok("scheduler", f"{system.name} {number.group()}")


def judge_answer(system: BatchSystem, ran: Ran | None) -> Finding:
    """Does the controller answer? ``scontrol ping`` ends with 0 on some versions though it prints DOWN."""
    asked = " ".join(system.answers)
    if ran is None or ran.rc != 0 or (system is SLURM and not re.search(r"\bis UP\b", ran.out)):
        said = (ran.out or ran.err).strip().splitlines() if ran is not None else []
        fix = f"see that the controller runs and that this host has its configuration and key ({asked})"
        return bad("scheduler", f"{system.name} does not answer: {said[0][:160] if said else asked}", fix)
    return ok("scheduler", f"{system.name} answers ({asked})")


def judge_slurm(settings: Mapping[str, str]) -> list[Finding]:
    """Slurm's settings on which a promise of this package rests."""
    if not settings:
        return [unknown("slurm.conf", "its settings can't be read", "run scontrol show config as this user")]
    findings = []
    track = settings.get("ProctrackType", "")
    if track == "proctrack/cgroup":
        findings.append(ok("slurm.conf", "a job's processes are tracked by cgroup"))
    else:
        findings.append(
            warn(
                "slurm.conf",
                f"ProctrackType is {track or 'not set'}: a process that forks twice outlives its job",
                "set ProctrackType=proctrack/cgroup",
            )
        )
    if "jobs" in settings.get("PrivateData", "").split(","):
        findings.append(
            warn(
                "slurm.conf",
                "PrivateData hides jobs: the gateway's user may not see whose job it is, and then enrols nobody",
                "make the gateway's user a Slurm operator (sacctmgr modify user NAME set adminlevel=operator)",
            )
        )
    if settings.get("AuthType") not in {"auth/munge", "auth/slurm"}:
        findings.append(
            warn("slurm.conf", f"AuthType is {settings.get('AuthType', 'not set')}", "use auth/munge or auth/slurm")
        )
    return findings
