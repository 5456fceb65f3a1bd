"""What the tests of the policy share: the design's example, subjects, and policies made of a few lines."""

import json
from typing import Any

from jupyter_hpcsec.access.policy import Policy, parse
from jupyter_hpcsec.access.values import Enforcement, Entry, Network, Resolved, Right, Subject

EXAMPLE = """\
version: 1
defaults: {enforcement: required, network: {bind: none, connect: [hub, 443]}}
rules:
  - {who: "*",              allow: {write: ["/home/{user}"]}, deny: ["/home/{user}/.ssh"]}
  - {who: "group:genomics", allow: {read: ["/data/genomics"]}, deny: ["/data/genomics/consented-only"]}
  - {who: "user:alice",     allow: {write: ["/data/genomics/alice"]}}
tests:
  - {user: alice, groups: [genomics], path: /data/genomics/consented-only/x, may: none}
"""

FILE = "policy.yaml"


def subject(user: str = "alice", *groups: str, uid: int = 1000, home: str = "", project: str = "") -> Subject:
    return Subject(user=user, uid=uid, gid=uid, home=home or f"/home/{user}", groups=groups, project=project)


def policy(*rules: dict[str, Any], tests: list[dict[str, Any]] | None = None, **defaults: Any) -> Policy:
    """A policy of these rules; JSON is YAML."""
    values: dict[str, Any] = {"version": 1, "rules": list(rules)}
    values |= {"defaults": defaults} if defaults else {}
    values |= {"tests": tests} if tests else {}
    return parse(json.dumps(values).encode(), FILE)


def resolved(*rights: tuple[str, str], user: str = "alice") -> Resolved:
    """``(path, right)`` pairs, one rule each."""
    return Resolved(
        subject=subject(user),
        policy="0" * 64,
        enforcement=Enforcement.REQUIRED,
        minimum_abi=6,
        network=Network(),
        entries=tuple(
            Entry(path=path, right=Right(right), rule=number, line=number, who="*")
            for number, (path, right) in enumerate(rights, 1)
        ),
    )
