"""Verifies what retention removed: events say so, the hashes still lead to the roots they name."""

from collections.abc import Callable
from dataclasses import dataclass, field

from jupyter_hpcsec.audit import retention
from jupyter_hpcsec.audit.facts import Facts
from jupyter_hpcsec.audit.findings import Finding
from jupyter_hpcsec.audit.layout import TILE_WIDTH, Layout
from jupyter_hpcsec.errors import HpcsecError


@dataclass
class Gone:
    """Bundles that are not there: by an event's word, and by nobody's. ``told`` are sentences for people."""

    told: list[str] = field(default_factory=list)
    bundles: set[int] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)


def check_removed(
    layout: Layout,
    facts: Facts,
    missing: dict[int, Finding],
    roots_at: Callable[[set[int]], dict[int, bytes]],
    *,
    live: bool,
) -> Gone:
    """``missing`` bundles are told of or are findings; ``roots_at`` gives the signed roots of sizes."""
    gone = Gone()
    end = facts.removed("events")
    # 1. Every bundle that is missing is one that an event says was to be removed.
    for number, finding in missing.items():
        if (number + 1) * TILE_WIDTH <= end:
            gone.bundles.add(number)
        else:
            gone.findings.append(finding)
    # 2. The hashes that stay lead to the roots that those events name.
    roots = roots_at({each.end for each in facts.pruned})
    for each in facts.pruned:
        found = roots.get(each.end)
        if found is None or found.hex() != each.root:
            said = f"the first {each.end} events had another root when they were removed"
            gone.findings.append(Finding("retention.root", "log", said, each.leaf))
    for what in ("events", "values"):
        newest = max((each for each in facts.pruned if each.what == what), key=lambda each: each.end, default=None)
        if newest is not None and newest.end:
            gone.told.append(
                f"{'the sealed values of ' if what == 'values' else ''}events 0 to {newest.end - 1} were removed by"
                f" retention at {newest.time} (event {newest.leaf}); their hashes hold"
            )
    # 3. The file that says how far, and what is there, agree with the events.
    if not live:
        gone.findings += _check_file(layout, facts, gone.bundles)
    return gone


def _check_file(layout: Layout, facts: Facts, gone: set[int]) -> list[Finding]:
    where = layout.removed.name
    try:
        said = retention.Removed.read(layout)
    except (OSError, HpcsecError) as error:
        return [Finding("retention.file", where, str(error))]
    if not said.done:
        return [Finding("retention.unfinished", where, "a removal was cut short; the gateway ends it when it starts")]
    told = retention.Removed(facts.removed("events"), facts.removed("values"))
    if said != told:
        return [Finding("retention.file", where, f"it says {said}, the events say {told}")]
    return [
        Finding("retention.kept", where, "they were to be removed, but are there", first, first + TILE_WIDTH - 1)
        for first in range(0, told.events, TILE_WIDTH)
        if first // TILE_WIDTH not in gone
    ]
