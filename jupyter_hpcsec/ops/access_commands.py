"""What ``hpcsec access`` does: checks a policy file, explains it, and compares two, for one or more users.

Accounts are looked up in this computer's name service, which may know other groups than a compute node's: what is asked
is always shown with the groups it was asked for. Nothing here changes anything.
"""

import grp
import os
import pwd
import stat
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from jupyter_hpcsec.access.decision import Decisions, Piece
from jupyter_hpcsec.access.explain import Explanation, explain
from jupyter_hpcsec.access.plan import compile as compile_plan
from jupyter_hpcsec.access.policy import Policy, PolicyError, load
from jupyter_hpcsec.access.policy_diff import Difference, compare
from jupyter_hpcsec.access.policy_rules import UNKNOWN_UID
from jupyter_hpcsec.access.system import find as find_system
from jupyter_hpcsec.access.values import Bind, Enforcement, Entry, Plan, Resolved, Right, Subject
from jupyter_hpcsec.errors import HpcsecError

DEFAULT_POLICY = Path("/etc/hpcsec/policy.yaml")


@dataclass(frozen=True)
class Account:
    """A user as the name service knows it; ``groups`` are names, the primary one among them."""

    uid: int
    gid: int
    home: str
    groups: tuple[str, ...]


def look_up(user: str) -> Account | None:
    """The account on this computer, or ``None``. A group without a name is left out."""
    try:
        entry = pwd.getpwnam(user)
    except (KeyError, ValueError):  # ValueError: a NUL in the name
        return None
    names = []
    for gid in os.getgrouplist(user, entry.pw_gid):
        try:
            names.append(grp.getgrgid(gid).gr_name)
        except KeyError:
            continue
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_dir, tuple(names))


def subject_of(
    user: str,
    *,
    groups: Sequence[str] = (),
    project: str = "",
    home: str = "",
    find: Callable[[str], Account | None] = look_up,
) -> Subject:
    """Whom is asked about: the account on this computer, with ``groups`` added and ``home`` in place of its own."""
    account = find(user) or Account(UNKNOWN_UID, UNKNOWN_UID, "", ())
    return Subject(
        user=user,
        uid=account.uid,
        gid=account.gid,
        home=home or account.home,
        groups=tuple(dict.fromkeys((*groups, *account.groups))),
        project=project,
    )


@dataclass(frozen=True)
class CheckReport:
    """What a check found. ``error`` is set when there are no problems with places, but no policy either."""

    file: str
    policy: Policy | None
    problems: tuple[dict[str, Any], ...] = ()
    error: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the gateway would use it."""
        return self.policy is not None

    def as_json(self) -> dict[str, Any]:
        """The report for programs."""
        policy = self.policy
        facts = {"rules": len(policy.rules), "tests": policy.tests, "sha256": policy.digest} if policy else {}
        told = {"problems": list(self.problems), "error": self.error, "warnings": list(self.warnings)}
        return {"file": self.file, "holds": self.holds, **facts, **told}

    def as_text(self) -> str:
        """The report for people."""
        lines = [f"{self.file}:{p['line']}:{p['column']}: {p['text']}; {p['fix']}." for p in self.problems]
        if self.error:
            lines.append(self.error)
        if self.policy:
            rules, tests = len(self.policy.rules), self.policy.tests
            lines.append(f"{self.file} can be used: {_count(rules, 'rule')}, {_count(tests, 'test')} held")
            lines.append(f"sha256 {self.policy.digest}")
        return "\n".join([*lines, *(f"WARNING: {warning}" for warning in self.warnings)])


def check(file: Path) -> CheckReport:
    """Load a policy with its tests, and look for what weakens it."""
    try:
        policy = load(file)
    except PolicyError as error:
        problems = tuple({**asdict(p.mark), "text": p.text, "fix": p.fix} for p in error.problems)
        return CheckReport(str(file), None, problems)
    except HpcsecError as error:
        return CheckReport(str(file), None, error=str(error))
    return CheckReport(str(file), policy, warnings=tuple(_warnings(policy, file)))


def _warnings(policy: Policy, file: Path) -> list[str]:
    found = []
    if policy.enforcement is Enforcement.ADVISORY:
        found.append("enforcement is advisory: nothing is enforced, it is only logged and shown.")
    if policy.minimum_abi < Policy.minimum_abi:
        found.append(
            f"minimum_abi {policy.minimum_abi}: on old kernels signals and abstract sockets reach out of a session."
        )
    binds = [("defaults", policy.network.bind), *((f"rule {r.number}", r.network.bind) for r in policy.rules)]
    found += [f"{where}: bind {bind} leaves sockets to the user." for where, bind in binds if _is_unsafe(bind)]
    if not policy.tests:
        found.append("it has no tests: write what must never be allowed, and what must.")
    if not policy.contact:
        found.append("defaults.contact is not set: who is refused is told to ask 'your administrators'.")
    if file.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        found.append("others may write this file: chmod 0644 where it is used.")
    return found


def _is_unsafe(bind: Bind | None) -> bool:
    return bind in {Bind.UNSAFE_UDP, Bind.UNSAFE_ALLOW}


def explanation_text(found: Explanation, policy: Policy) -> str:
    """An explanation for people: the answer first, then why."""
    advisory = "  (advisory: not enforced)" if found.enforcement == Enforcement.ADVISORY else ""
    lines = [f"{found.user} may {_may(found.right)} {found.path}{advisory}"]
    if found.refused:
        lines.append(f"  no session      {found.refused}")
    elif found.entry:
        lines.append(f"  decided by      {_entry(found.entry, policy)}")
    else:
        lines.append(f"  decided by      no rule of {policy.name} speaks of it, and what nothing allows is denied")
        lines.append("                  not asked here: what sessions have anyway, see `hpcsec access plan`")
    lines += [f"  speaks of it    {_entry(entry, policy)}" for entry in found.beside]
    lines += [f"  allowed to      {who}" for who in found.others]
    lines.append(f"  asked for       {found.user}, groups: {', '.join(found.groups) or 'none'}")
    if found.right is Right.NONE and found.contact:
        lines.append(f"  ask             {found.contact}")
    return "\n".join(lines)


def explanation_json(found: Explanation, policy: Policy) -> dict[str, Any]:
    """An explanation for programs."""
    values: dict[str, Any] = msgspec.to_builtins(found)
    return {"policy": policy.name, "sha256": policy.digest, **values}


def _entry(entry: Entry, policy: Policy) -> str:
    verb = {Right.NONE: "deny", Right.READ: "allow read", Right.WRITE: "allow write"}[entry.right]
    return f"rule {entry.rule} ({entry.who}), {policy.name} line {entry.line}: {verb} {entry.path}"


def _may(right: Right) -> str:
    return {Right.NONE: "do NOTHING with", Right.READ: "READ", Right.WRITE: "READ and WRITE"}[right]


def resolved_text(resolved: Resolved) -> str:
    """What is resolved for one user, for people: paths with rights, then the rest."""
    pieces = Decisions(resolved).pieces()
    width = max((len(piece.path) for piece in pieces), default=0)
    lines = [f"{piece.decision.right:<6} {piece.path:<{width}}  {_origin(piece)}" for piece in pieces]
    ports = ", ".join(map(str, resolved.network.connect)) or "no port"
    lines += [
        "",
        f"network      bind {resolved.network.bind}, connect to {ports}",
        f"enforcement  {resolved.enforcement}, Landlock ABI {resolved.minimum_abi} or newer",
        f"policy       sha256 {resolved.policy}",
        f"asked for    {resolved.subject.user}, groups: {', '.join(resolved.subject.groups) or 'none'}",
    ]
    return "\n".join(lines)


def _origin(piece: Piece) -> str:
    entry = piece.decision.entry
    if entry is None:
        raise AssertionError("BUG: a piece that no entry decided")
    return f"rule {entry.rule} ({entry.who}), line {entry.line}{', required' if entry.required else ''}"


def difference_text(found: Difference) -> str:
    """A difference for people: one line a path."""
    lines = [f"{found.user}:"]
    lines += [f"  no session before  {found.refused_before}"] if found.refused_before else []
    lines += [f"  no session after   {found.refused_after}"] if found.refused_after else []
    for change in found.changes:
        lines.append(f"  {change.kind:<6} {change.before:>5} -> {change.after:<5}  {change.path}")
    lines += [f"  {setting.name}: {setting.before} -> {setting.after}" for setting in found.settings]
    return "\n".join(lines if len(lines) > 1 else [f"{found.user}: nothing changes"])


def difference_json(found: Difference) -> dict[str, Any]:
    """A difference for programs."""
    values: dict[str, Any] = msgspec.to_builtins(found)
    values["changes"] = [{"kind": change.kind, **msgspec.to_builtins(change)} for change in found.changes]
    return values


def compare_files(old: Path, new: Path, subjects: Sequence[Subject]) -> tuple[Difference, ...]:
    """What changes for each of the subjects from one file to the other."""
    before, after = load(old), load(new)
    return tuple(compare(before, after, subject) for subject in subjects)


def explain_file(file: Path, subject: Subject, path: str) -> tuple[Explanation, Policy]:
    """The explanation, and the policy that it is about."""
    policy = load(file)
    return explain(policy, subject, path), policy


def resolve_file(file: Path, subject: Subject) -> Resolved:
    """What a policy file says about one subject."""
    return load(file).resolve(subject)


def plan_here(resolved: Resolved) -> Plan:
    """What the kernel would enforce if the session started on this computer. It looks at the paths and changes nothing.

    ``Unavailable`` with the sentence of the spawn page where a session could not start here.
    """
    uid = resolved.subject.uid
    return compile_plan(resolved, find_system(resolved, {}, runtime=None, uid=None if uid == UNKNOWN_UID else uid))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
