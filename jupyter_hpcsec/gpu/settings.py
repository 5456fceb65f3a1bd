"""What a site may set of the watch: thresholds with defaults, and what is done. Unknown names are refused. Values."""

from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

Action = Literal["notify", "shutdown kernel", "end session"]
Rule = Literal["R1", "R2", "R3", "R4", "R5", "R6", "R7"]

DEFAULT_ACTIONS: Mapping[Rule, Action] = {"R3": "shutdown kernel"}
"""For all others: notify."""

SIZE_LIMIT = 16 * 1024
MIB = 1 << 20


class IdleLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one group, in minutes. ``end`` 0: never shut down. A user may extend, each time and in all, by so much."""

    first_warning: int = 60
    second_warning: int = 105
    end: int = 120
    extend_by: int = 120
    extend_in_all: int = 480

    def __post_init__(self) -> None:
        if self.end and not 0 < self.first_warning <= self.second_warning <= self.end:
            raise ValueError("first_warning, second_warning and end must follow each other")
        if min(self.first_warning, self.second_warning, self.end, self.extend_by, self.extend_in_all) < 0:
            raise ValueError("minutes can't be negative")


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds; where each comes from is in docs/gpu.md. Seconds are of the monotonic clock while the watch saw."""

    idle: IdleLimits = IdleLimits()
    groups: Mapping[str, IdleLimits] = {}
    idle_utilisation: int = 5
    """Percent. Below is idle: a desktop's or a monitor's own work stays under it."""
    idle_memory: int = 256 * MIB
    """Bytes. Less than a CUDA context's own share of a data centre GPU is no hold."""
    shared: bool = False
    """GPUs are shared between jobs on purpose (MPS, shards): other jobs' processes there are expected."""
    foreign_s: float = 15.0
    leftover_s: float = 60.0
    leftover_memory: int = 1024 * MIB
    unexplained_s: float = 60.0
    cell_grace_s: float = 30.0
    steady_s: float = 1800.0
    steady_utilisation: int = 90
    steady_power: int = 60
    """Percent of the power limit."""
    mining_score: int = 3
    clear_s: float = 60.0
    actions: Mapping[Rule, Action] = {}
    """What is done, by rule; ``DEFAULT_ACTIONS`` for those that are not named."""

    def __post_init__(self) -> None:
        if self.actions.get("R5", "notify") != "notify":
            raise ValueError("R5 (signs of mining) is for review by people: its action can only be notify")

    def idle_for(self, groups: Iterable[str]) -> IdleLimits:
        """The limits of someone in these groups: those of the group that may hold longest, else the site's."""
        own = [self.groups[group] for group in groups if group in self.groups]
        return max(own, key=lambda limits: limits.end or float("inf"), default=self.idle)

    def action(self, rule: Rule) -> Action:
        """What the site wants done; ``notify`` where it says nothing."""
        return self.actions.get(rule, DEFAULT_ACTIONS.get(rule, "notify"))
