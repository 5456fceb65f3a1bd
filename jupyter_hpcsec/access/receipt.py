"""What was enforced, as flat facts for logs and people: also what this kernel could not hold. Pure.

It is made after everything was applied; the canary's outcomes are added by ``sandbox``.
"""

from collections.abc import Sequence

from jupyter_hpcsec.access.landlock import Fs, Net, Ruleset, Scope
from jupyter_hpcsec.access.values import Bind, Enforcement, Mask, Plan, digest

TEXT_LIMIT = 1000
"""Characters of one fact: what a report may hold (``tunnel.messages``)."""


def make(plan: Plan, layer: Ruleset, version: int, made: Sequence[str], code: str) -> dict[str, str | int]:
    """The facts. ``layer`` is the Landlock layer that was applied, ``made`` the directories made for masks,
    ``code`` what ``code.check`` said before."""
    facts: dict[str, str | int] = {
        "enforcement": str(plan.enforcement),
        "policy": plan.policy,
        "plan": digest(plan),
        "landlock_abi": version,
        "files": _files(plan, layer),
        "bind": str(plan.network.bind),
        "connect": _connect(plan, layer),
        "seccomp": _seccomp(plan.network.bind),
        "scopes": _scopes(layer),
        "code": code,
    }
    if plan.enforcement is Enforcement.REQUIRED:
        facts["masks"] = _masks(plan)
        facts["memory"] = "System V and POSIX queues of its own" if plan.namespaces else "shared with the user's others"
    if made:
        facts["made"] = ", ".join(made)
    if plan.notes:
        facts["notes"] = " ".join(plan.notes)
    return {name: fact[:TEXT_LIMIT] if isinstance(fact, str) else fact for name, fact in facts.items()}


def _files(plan: Plan, layer: Ruleset) -> str:
    if plan.enforcement is Enforcement.ADVISORY:
        return "advisory: file rules are shown, NOT enforced"
    lacks = [name for right, name in ((Fs.REFER, "moving between directories is refused altogether"),
             (Fs.TRUNCATE, "truncating is not refused by Landlock"), (Fs.IOCTL_DEV, "device control is not refused"))
             if not right & layer.files]  # fmt: skip
    how = "root directory of its own" if plan.namespaces else "the node's root directory, names are seen"
    return "; ".join([f"{len(plan.roots)} roots, {how}, Landlock", *lacks])


def _masks(plan: Plan) -> str:
    hidden = sum(masked.mask is Mask.HIDDEN for masked in plan.masks)
    by = "" if plan.namespaces or not plan.masks else ", prepared by the node's root"
    return f"{hidden} hidden, {len(plan.masks) - hidden} read-only{by}"


def _connect(plan: Plan, layer: Ruleset) -> str:
    if plan.network.bind is Bind.PRIVATE:
        return "nothing outside a network of its own"
    if not layer.denied & Net.CONNECT_TCP:
        return "not restricted"
    return "TCP ports " + (", ".join(map(str, plan.network.connect)) or "none")


def _seccomp(bind: Bind) -> str:
    sockets = {
        Bind.NONE: "sockets: unix, netlink, TCP; only unix sockets listen",
        Bind.UNSAFE_UDP: "sockets: unix, netlink, TCP, UDP; only unix sockets listen on streams",
        Bind.PRIVATE: "sockets: unix, netlink, internet, in a network of its own",
        Bind.UNSAFE_ALLOW: "sockets: unix, netlink, TCP, UDP; all may listen",
    }[bind]
    return f"{sockets}; no io_uring, mounts, namespaces, terminal injection"


def _scopes(layer: Ruleset) -> str:
    signal, abstract = layer.scopes & Scope.SIGNAL, layer.scopes & Scope.ABSTRACT_UNIX_SOCKET
    if signal and abstract:
        return "signals and abstract sockets end at the sandbox"
    return "absent: signals and abstract sockets reach the user's other processes on the node"
