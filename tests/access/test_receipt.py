"""The receipt says what holds and what does not, in facts that a report can carry."""

import msgspec

from jupyter_hpcsec.access import receipt, sandbox
from jupyter_hpcsec.access.plan import unrestricted
from jupyter_hpcsec.access.values import Bind, Enforcement, Mask, Masked, Network, Plan, Right, Root, digest
from jupyter_hpcsec.tunnel.messages import Report

PLAN = Plan(
    user="alice", policy="ab" * 32, enforcement=Enforcement.REQUIRED, minimum_abi=4,
    network=Network(connect=(53, 443)), roots=(Root(path="/h", right=Right.WRITE, origin="rule 1"),),
    masks=(Masked(path="/h/x", mask=Mask.HIDDEN, origin="rule 2"),), notes=("/data is missing on this node.",),
)  # fmt: skip


def made(plan: Plan, version: int = 7) -> dict[str, str | int]:
    return receipt.make(plan, sandbox.ruleset(plan, version), version, ["/h/x"], "root's")


def test_what_holds() -> None:
    facts = made(PLAN)
    assert facts["plan"] == digest(PLAN)
    assert (facts["landlock_abi"], facts["connect"], facts["masks"]) == (
        7,
        "TCP ports 53, 443",
        "1 hidden, 0 read-only",
    )
    assert facts["scopes"] == "signals and abstract sockets end at the sandbox"
    assert (facts["made"], facts["notes"]) == ("/h/x", "/data is missing on this node.")


def test_what_an_older_kernel_lacks_is_said() -> None:
    assert str(made(PLAN, 5)["scopes"]).startswith("absent:")
    assert "truncating is not refused" in str(made(PLAN, 2)["files"])
    assert "not refused" not in str(made(PLAN)["files"])


def test_advisory_and_open_networks_are_called_so() -> None:
    facts = made(unrestricted("alice", Bind.UNSAFE_ALLOW))
    assert "NOT enforced" in str(facts["files"])
    assert (facts["connect"], facts["bind"]) == ("not restricted", "unsafe-allow")
    private = msgspec.structs.replace(PLAN, network=Network(bind=Bind.PRIVATE))
    assert made(private)["connect"] == "nothing outside a network of its own"


def test_a_report_can_carry_it_however_much_there_is_to_say() -> None:
    many = msgspec.structs.replace(PLAN, notes=("x" * 5000,) * 9)
    facts = made(many) | {f"canary.files {i}": "x" for i in range(17)}
    encoded = msgspec.json.encode(Report(state="ready", message="", facts=facts))
    assert msgspec.json.decode(encoded, type=Report).facts == facts
