"""What the rules say: findings of one moment, alerts that came of them, and what they could not judge. Values only."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from jupyter_hpcsec.gpu.settings import Action, Rule

Confidence = Literal["low", "medium", "high"]

TITLES: Mapping[Rule, str] = {
    "R1": "foreign process on an allocated GPU",
    "R2": "GPU used that is not allocated to the job",
    "R3": "GPU memory held idle by a kernel",
    "R4": "left on the GPU by a kernel or job that is gone",
    "R5": "signs of mining, for review",
    "R6": "GPU context that no executed cell explains",
    "R7": "posture of driver, device or watch",
}


class Finding(Struct, frozen=True, kw_only=True):
    """What one rule sees in one sample. ``after_s``: for how long it has to be seen before it is an alert."""

    rule: Rule
    key: str
    evidence: Mapping[str, str | int | bool]
    confidence: Confidence
    threshold: str
    after_s: float = 0.0
    device: str = ""
    kernel: str = ""
    pid: int = 0
    action: Action = "notify"


class Alert(Struct, frozen=True, kw_only=True):
    """A finding that stood (``raised``), or one that is over. ``time`` is the sample's."""

    time: float
    raised: bool
    finding: Finding

    @property
    def title(self) -> str:
        """For people."""
        return TITLES[self.finding.rule]


class Blind(Struct, frozen=True):
    """A rule could not be judged for a device: *not visible* or *unverified*, which is not *fine*."""

    rule: Rule
    device: str
    why: str
