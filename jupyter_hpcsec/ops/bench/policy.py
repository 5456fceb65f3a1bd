"""What one decision of the access policy costs, with few rules and with many. No file is read, no kernel asked."""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jupyter_hpcsec.access.decision import Decisions
from jupyter_hpcsec.access.policy_paths import Template
from jupyter_hpcsec.access.policy_rules import Grant, Policy, Rule, Who
from jupyter_hpcsec.access.values import Right, Subject
from jupyter_hpcsec.ops.bench.statistics import Summary, paired_ratio

FEW = 10
MANY = 1000
BOUND_S = 2e-6
"""What a decision may cost with ``MANY`` rules."""

SUBJECT = Subject(user="alice", uid=1000, gid=1000, home="/home/alice", groups=("staff",))


@dataclass(frozen=True)
class PolicyCost:
    """Seconds a decision, and how much more it costs with many rules than with few."""

    rules: int
    decision_s: Summary
    many_to_few: Summary

    @property
    def holds(self) -> bool:
        """Whether the median is within the bound."""
        return self.decision_s.median <= BOUND_S


def made_policy(rules: int) -> Policy:
    """``rules`` rules for one user: each allows to read a project, to write in part of it, and denies a part."""
    return Policy(
        name="bench",
        digest="0" * 64,
        rules=tuple(Rule(n, n, Who("*"), _grants(n)) for n in range(1, rules + 1)),
    )


def _grants(number: int) -> tuple[Grant, ...]:
    top = f"/lustre/projects/p{number:04}"
    rights = ((top, Right.READ), (f"{top}/scratch/{{user}}", Right.WRITE), (f"{top}/raw/secret", Right.NONE))
    return tuple(Grant(Template(path), right, number) for path, right in rights)


def asked_paths(rules: int) -> list[str]:
    """Paths as notebooks use them, allowed and denied, six or seven names deep, all over the rules."""
    ends = ("data/run7/part-001.parquet", "scratch/alice/model/last.ckpt", "raw/secret/x/y", "../p0001/raw", "raw/a b")
    tops = (f"/lustre/projects/p{number:04}" for number in range(1, rules + 3))
    return [f"{top}/{end}" for top, end in itertools.product(tops, ends)]


def measure(
    *, rounds: int = 7, calls: int = 50_000, rules: int = MANY, clock: Callable[[], float] = time.perf_counter
) -> PolicyCost:
    """Ask both policies in turn, ``calls`` times a round; the loop around the question is part of the figure."""
    many, few = (Decisions(made_policy(number).resolve(SUBJECT)) for number in (rules, FEW))
    paths = list(itertools.islice(itertools.cycle(asked_paths(rules)), calls))
    pairs = [(_cost(many, paths, clock), _cost(few, paths, clock)) for _ in range(rounds)]
    costs_many, costs_few = zip(*pairs, strict=True)
    return PolicyCost(rules, Summary.of(costs_many), paired_ratio(costs_many, costs_few))


def _cost(decisions: Decisions, paths: Sequence[str], clock: Callable[[], float]) -> float:
    decide = decisions.decide
    start = clock()
    for path in paths:
        decide(path)
    return (clock() - start) / len(paths)


def as_text(cost: PolicyCost) -> str:
    """One line for people."""
    verdict = "held" if cost.holds else "NOT HELD"
    return (
        f"{cost.rules} rules: {cost.decision_s.median * 1e6:.2f} µs a decision"
        f" ({cost.decision_s.low * 1e6:.2f} to {cost.decision_s.high * 1e6:.2f}),"
        f" at most {BOUND_S * 1e6:.0f}: {verdict}; {cost.many_to_few.median:.2f} times the cost with {FEW} rules"
    )
