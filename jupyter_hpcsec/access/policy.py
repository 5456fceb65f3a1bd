"""Loads an access policy: from bytes or a file to a :class:`Policy`, or to errors that name line, column and fix.

A policy is refused as a whole for one wrong word: half a policy would allow what its missing half denies. Its own tests
run here, so that a policy which does not do what its author expects never takes effect. The language is described in
``docs/admins/access-policy.md``. The only I/O is reading one file.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_hpcsec.access.decision import Decisions
from jupyter_hpcsec.access.policy_paths import Fault, Template, component_fault, path_fault, shape_fault, template_fault
from jupyter_hpcsec.access.policy_rules import UNKNOWN_UID, Grant, Policy, Rule, RuleNetwork, Who
from jupyter_hpcsec.access.policy_schema import problems
from jupyter_hpcsec.access.policy_source import SIZE_LIMIT, Mark, PolicyError, Problem, Source, read
from jupyter_hpcsec.access.values import Bind, Enforcement, Network, Right, Subject
from jupyter_hpcsec.errors import Refused, Unavailable

__all__ = ["Policy", "PolicyError", "load", "parse"]


def load(path: Path) -> Policy:
    """The policy in a file. Raises :class:`Unavailable` when it can't be read, :class:`PolicyError` when it is wrong.

    Takes about a second for 1,000 rules with tests: not for an event loop's thread.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Unavailable(f"the access policy {path} is no file; name a YAML file")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(SIZE_LIMIT + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unavailable(
            f"the access policy {path} can't be read ({error.strerror}); create it, or let this user read it"
        ) from error
    return parse(content, str(path))


def parse(content: bytes, name: str) -> Policy:
    """The policy in ``content``; ``name`` is the file's, for messages.

    1. YAML of the accepted kind (``policy_source.read``).
    2. The published schema.
    3. Paths and traits that can be enforced, and rules that do not contradict themselves.
    4. The policy's own tests.

    Raises :class:`PolicyError` with everything that one step found.
    """
    source = read(content, name)  # 1
    _refuse(source, problems(source))  # 2
    rules = tuple(_rule(source, index) for index in range(len(source.values["rules"])))
    wrong = [problem for index in range(len(rules)) for problem in _rule_problems(source, index)]
    _refuse(source, [*_network_problems(source, source.values.get("defaults", {}), ("defaults",)), *wrong])  # 3
    policy = _policy(source, hashlib.sha256(content).hexdigest(), rules)
    _refuse(source, list(_failed_tests(source, policy)))  # 4
    return policy


def _refuse(source: Source, found: list[Problem]) -> None:
    if found:
        raise PolicyError(source.name, found)


def _policy(source: Source, digest: str, rules: tuple[Rule, ...]) -> Policy:
    defaults = source.values.get("defaults", {})
    network = _network(defaults.get("network", {}))
    return Policy(
        name=source.name,
        digest=digest,
        rules=rules,
        enforcement=Enforcement(defaults.get("enforcement", Enforcement.REQUIRED)),
        minimum_abi=defaults.get("minimum_abi", Policy.minimum_abi),
        network=Network(bind=network.bind or Bind.NONE, connect=network.connect),
        contact=defaults.get("contact", ""),
        hide_denied=defaults.get("hide_denied", False),
        tests=len(source.values.get("tests", ())),
    )


def _network(values: dict[str, Any]) -> RuleNetwork:
    ports = {port for port in values.get("connect", ()) if port != "hub"}
    return RuleNetwork(Bind(values["bind"]) if "bind" in values else None, tuple(sorted(ports)))


def _listed(values: dict[str, Any], place: tuple[str | int, ...]) -> Iterator[tuple[Right, str, tuple[str | int, ...]]]:
    """Right, path and place of every path that a rule allows or denies."""
    allow = values.get("allow", {})
    for right, key in ((Right.READ, "read"), (Right.WRITE, "write")):
        for index, path in enumerate(allow.get(key, ())):
            yield right, path, (*place, "allow", key, index)
    for index, path in enumerate(values.get("deny", ())):
        yield Right.NONE, path, (*place, "deny", index)


def _rule(source: Source, index: int) -> Rule:
    values, place = source.values["rules"][index], ("rules", index)
    required = frozenset(values.get("required", ()))
    return Rule(
        number=index + 1,
        line=source.mark(place).line,
        who=Who.parse(values["who"]),
        grants=tuple(
            Grant(Template(path), right, source.mark(at).line, path in required)
            for right, path, at in _listed(values, place)
        ),
        network=_network(values.get("network", {})),
    )


def _rule_problems(source: Source, index: int) -> Iterator[Problem]:
    """What the schema can't say about one rule."""
    values, place = source.values["rules"][index], ("rules", index)
    listed = list(_listed(values, place))
    yield from _network_problems(source, values, place)
    yield from _path_problems(source, index, listed)
    seen: dict[str, Mark] = {}
    for _, path, at in listed:
        if path in seen:
            fix = f"keep one of them (the first stands in line {seen[path].line})"
            yield _problem(source, at, f"rule {index + 1} names {path!r} twice", fix)
        seen.setdefault(path, source.mark(at))
    denied = {path for right, path, _ in listed if right is Right.NONE}
    for right, path, at in listed:
        over = next((above for above in Template(path).above() if above in denied), None)
        if right is not Right.NONE and over is not None:
            text = f"{path!r} is allowed to no effect: rule {index + 1} denies {over!r}, and deny wins"
            yield _problem(source, at, text, "deny less, or take this path out")
    allowed = {path for right, path, _ in listed if right is not Right.NONE}
    for number, path in enumerate(values.get("required", ())):
        if path not in allowed:
            text = f"{path!r} is required, but rule {index + 1} does not allow it"
            yield _problem(source, (*place, "required", number), text, "write it under allow as well")


def _network_problems(source: Source, values: dict[str, Any], place: tuple[str | int, ...]) -> Iterator[Problem]:
    """Ports beside ``private``: whoever writes both expects a way out that there is not."""
    network = _network(values.get("network", {}))
    if network.bind is Bind.PRIVATE and network.connect:
        text = f"bind: private is a network that leads nowhere, so port {network.connect[0]} can't be reached from it"
        fix = "take the ports out, or write them in rules whose sessions have another bind"
        yield _problem(source, (*place, "network", "connect"), text, fix)


def _path_problems(
    source: Source, index: int, listed: list[tuple[Right, str, tuple[str | int, ...]]]
) -> Iterator[Problem]:
    who = Who.parse(source.values["rules"][index]["who"])
    for _, path, at in listed:
        fault = template_fault(path, group=who.kind == "group")
        if fault is None and who.name and f"{{{who.kind}}}" in path and (named := component_fault(who.name)):
            fault = Fault(f"{{{who.kind}}} filled in: {named.text}", "write the path out")
        if fault:
            yield _problem(source, at, f"the path {path[:100]!r}: {fault.text}", fault.fix)


def _problem(source: Source, place: tuple[str | int, ...], text: str, fix: str) -> Problem:
    return Problem(source.mark(place), text, fix)


def _failed_tests(source: Source, policy: Policy) -> Iterator[Problem]:
    for index, test in enumerate(source.values.get("tests", ())):
        place = ("tests", index)
        faults = [(key, fault) for key in ("path", "home") if key in test and (fault := _literal_fault(key, test[key]))]
        if faults:
            for key, fault in faults:
                yield _problem(source, (*place, key), f"test {index + 1}, {key}: {fault.text}", fault.fix)
            continue
        try:
            found, why = _ask(policy, test)
        except Refused as error:
            fix = "give the test its uid, home or project"
            yield _problem(source, place, f"test {index + 1} can't be asked: {error.reason.rstrip('.')}", fix)
            continue
        if found != test["may"]:
            text = f"test {index + 1} fails: {test['user']} may {_verb(found)} {test['path']!r} ({why})"
            text += f", but the test says {test['may']}"
            yield _problem(source, place, text, "mend the rules, or the test")


def _literal_fault(key: str, path: str) -> Fault | None:
    return path_fault(path) if key == "home" else shape_fault(path)


def _ask(policy: Policy, test: dict[str, Any]) -> tuple[Right, str]:
    """The right that a test's question gets, and why. Nobody's rule allows anything to someone who has none."""
    subject = Subject(
        user=test["user"],
        uid=test.get("uid", UNKNOWN_UID),
        gid=UNKNOWN_UID,
        home=test.get("home", ""),
        groups=tuple(test.get("groups", ())),
        project=test.get("project", ""),
    )
    try:
        resolved = policy.resolve(subject)
    except Refused as error:
        if error.rule == "access.no-rule":
            return Right.NONE, "no rule allows this user anything"
        raise
    decision = Decisions(resolved).decide(test["path"])
    if decision.entry is None:
        return decision.right, "no rule speaks of it"
    return decision.right, f"rule {decision.entry.rule}, line {decision.entry.line}"


def _verb(right: Right) -> str:
    return {Right.NONE: "do nothing with", Right.READ: "read", Right.WRITE: "write"}[right]
