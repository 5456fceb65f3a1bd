"""A policy as a value, and its resolution for one subject. Pure: no file, no name service, no clock.

The order of the rules means nothing, here and in ``decision``: deny wins over allow, then the longest path, and for the
network the most specific rule. So a rule can be moved in the file without changing what anybody may do.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from jupyter_hpcsec.access.policy_paths import Template, component_fault, path_fault
from jupyter_hpcsec.access.values import Bind, Enforcement, Entry, Network, Resolved, Right, Subject, encode
from jupyter_hpcsec.errors import Malformed, Refused

UNKNOWN_UID = -1
"""In a ``Subject`` whose user id is not known (an administrator's question): ``{uid}`` is unresolved then."""

_TIGHTEST_FIRST = tuple(Bind)


@dataclass(frozen=True)
class Who:
    """Whom a rule concerns: ``kind`` is ``*``, ``group`` or ``user``; ``name`` is empty for ``*``."""

    kind: str
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> "Who":
        """``*``, ``user:NAME`` or ``group:NAME``, already checked by the schema."""
        kind, _, name = text.partition(":")
        return cls(kind, name)

    def concerns(self, subject: Subject) -> bool:
        """Whether the rule is about this subject. Names are compared byte by byte."""
        match self.kind:
            case "*":
                return True
            case "group":
                return self.name in subject.groups
            case "user":
                return self.name == subject.user
        raise AssertionError(f"BUG: a rule for a {self.kind}")

    @property
    def rank(self) -> int:
        """The more specific, the higher."""
        return ("*", "group", "user").index(self.kind)

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


@dataclass(frozen=True)
class Grant:
    """One path of one rule. ``NONE`` denies."""

    template: Template
    right: Right
    line: int
    required: bool = False


@dataclass(frozen=True)
class RuleNetwork:
    """What a rule says about the network. ``bind`` is ``None`` where it says nothing about it."""

    bind: Bind | None = None
    connect: tuple[int, ...] = ()


@dataclass(frozen=True)
class Rule:
    """One rule; ``number`` counts from 1, ``line`` is where it begins."""

    number: int
    line: int
    who: Who
    grants: tuple[Grant, ...] = ()
    network: RuleNetwork = RuleNetwork()


@dataclass(frozen=True)
class Policy:
    """A whole policy. ``name`` is the file it came from, ``digest`` the SHA-256 (hex) of its bytes."""

    name: str
    digest: str
    rules: tuple[Rule, ...]
    enforcement: Enforcement = Enforcement.REQUIRED
    minimum_abi: int = 6
    network: Network = field(default_factory=Network)
    contact: str = ""
    hide_denied: bool = False
    tests: int = 0
    """How many tests of its own held when it was loaded."""

    def concerning(self, subject: Subject) -> tuple[Rule, ...]:
        """The rules about this subject, in the order of the file."""
        return tuple(rule for rule in self.rules if rule.who.concerns(subject))

    def resolve(self, subject: Subject) -> Resolved:
        """What this policy says about one subject.

        1. Some rule concerns the subject, and one of those allows something: else ``access.no-rule``.
        2. Every trait of these rules has a value that is safe in a path: else ``access.trait``.
        3. All of it can be sent to the node: else ``access.too-much``.

        Raises ``Refused``; the sentence says what to do, and whom to ask.
        """
        rules = self.concerning(subject)
        if not any(grant.right is not Right.NONE for rule in rules for grant in rule.grants):  # 1
            raise Refused(
                "access.no-rule", f"No rule of the access policy allows {subject.user} anything here. {self._ask()}"
            )
        entries = tuple(self._entry(rule, grant, subject) for rule in rules for grant in rule.grants)  # 2
        resolved = Resolved(
            subject=subject,
            policy=self.digest,
            enforcement=self.enforcement,
            minimum_abi=self.minimum_abi,
            network=network_of(self.network, rules),
            entries=entries,
            contact=self.contact,
            hide_denied=self.hide_denied,
        )
        try:  # 3
            encode(resolved)
        except Malformed as error:
            raise Refused("access.too-much", f"The access policy is too long: {error.reason}. {self._ask()}") from error
        return resolved

    def _entry(self, rule: Rule, grant: Grant, subject: Subject) -> Entry:
        try:
            path = fill(grant.template, trait_values(subject, rule.who))
        except Malformed as error:
            where = f"rule {rule.number}, line {grant.line}: {grant.template.text!r}"
            raise Refused(
                "access.trait", f"The access policy ({where}) can't be filled in for you: {error.reason}. {self._ask()}"
            ) from error
        return Entry(
            path=path,
            right=grant.right,
            rule=rule.number,
            line=grant.line,
            who=str(rule.who),
            required=grant.required,
        )

    def _ask(self) -> str:
        return f"Ask {self.contact}." if self.contact else "Ask your administrators."


def trait_values(subject: Subject, who: Who) -> Mapping[str, str]:
    """The traits of one subject under one rule; what is not known is empty."""
    return {
        "user": subject.user,
        "uid": str(subject.uid) if subject.uid >= 0 else "",
        "group": who.name if who.kind == "group" else "",
        "home": subject.home,
        "project": subject.project,
    }


def fill(template: Template, values: Mapping[str, str]) -> str:
    """The path for one subject, safe as a whole; ``Malformed`` says which trait is not."""
    for name in template.traits():
        check_trait(name, values.get(name, ""))
    path = template.fill(values)
    if fault := path_fault(path):
        raise Malformed(f"{path[:80]!r} has {fault.text}")
    return path


def check_trait(name: str, value: str) -> None:
    """Raise ``Malformed`` unless the value is one safe name of a path; for ``home``, one safe path."""
    if not value:
        fix = "; choose a project" if name == "project" else ""
        raise Malformed(f"{{{name}}} is not known{fix}")
    if fault := path_fault(value) if name == "home" else component_fault(value):
        raise Malformed(f"{{{name}}} is {value[:80]!r}: {fault.text}")


def network_of(default: Network, rules: Iterable[Rule]) -> Network:
    """The network section for the rules that concern someone.

    ``bind``: of the most specific rules that speak of it (user, then group, then ``*``, then the default) the tightest.
    ``connect``: the default's ports and those of all the rules; none with ``private``, whose network leads nowhere.
    """
    rules = tuple(rules)
    spoken = [(rule.who.rank, rule.network.bind) for rule in rules if rule.network.bind is not None]
    highest = max((rank for rank, _ in spoken), default=0)
    bind = min((bind for rank, bind in spoken if rank == highest), key=_TIGHTEST_FIRST.index, default=default.bind)
    ports = set(default.connect).union(*(rule.network.connect for rule in rules))
    return Network(bind=bind, connect=() if bind is Bind.PRIVATE else tuple(sorted(ports)))
