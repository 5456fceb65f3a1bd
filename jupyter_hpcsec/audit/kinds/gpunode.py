"""Kinds about GPUs as root's helper on a node sees them, and what the gateway makes of it.

The helper is a producer of its own: it numbers what it tells (``told_seq``), under ``told_by`` ``node/NAME/gpu``.
"""

from jupyter_hpcsec.audit.events import Count, Event, Name, Path, Sentence, ToldByRoot


class GpuNodeAlert(ToldByRoot, frozen=True, kw_only=True, tag="gpu.node-alert"):
    """A finding of ``part`` (watch, prolog or epilog): ``state`` is raised or cleared, or found (after a job, say).

    ``rule`` is R1 to R7, or what the epilog calls it; ``evidence`` is JSON. ``action``: what was done (drained).
    """

    part: Name = ""
    state: Name = ""
    device: Name = ""
    pid: Count = 0
    confidence: Name = ""
    threshold: Sentence = ""
    action: Name = ""
    evidence: Path = ""
    simulated: bool = False


class GpuNodeJob(ToldByRoot, frozen=True, kw_only=True, tag="gpu.node-job"):
    """A job began on the node, or is over (``state``), with these GPUs (UUIDs, separated by spaces)."""

    state: Name = ""
    devices: Path = ""


class GpuNodeWatch(ToldByRoot, frozen=True, kw_only=True, tag="gpu.node-watch"):
    """Root's watch itself: ``state`` is started, stopped, hung, ended, or damaged (what it kept on the disk).

    ``blind``: what it can't judge, as JSON.
    """

    state: Name = ""
    blind: Path = ""


class GpuNodeHeartbeat(ToldByRoot, frozen=True, kw_only=True, tag="gpu.node-heartbeat"):
    """Root's watch is there: how many GPUs and jobs it sees, alerts that stand, events it told and lost."""

    devices: Count = 0
    jobs: Count = 0
    standing: Count = 0
    events: Count = 0
    lost: Count = 0


class GpuNodeLost(ToldByRoot, frozen=True, kw_only=True, tag="gpu.node-lost"):
    """Findings that are not told, since there was no room to keep them: how many of which kind."""

    lost: Count = 0
    kinds: Sentence = ""


# The gateway's own


class NodeHelperEnrolled(Event, frozen=True, kw_only=True, tag="node.helper-enrolled"):
    """Root's helper on ``node`` proved who it is; its certificate is good until ``not_after`` (Unix seconds)."""

    not_after: Count = 0


class NodeHelperSilent(Event, frozen=True, kw_only=True, tag="node.helper-silent"):
    """Root's helper on a node has told nothing for ``seconds``: what it would have seen there is not told."""

    seconds: Count = 0


class NodeHelperHeard(Event, frozen=True, kw_only=True, tag="node.helper-heard"):
    """A silent helper tells again, after ``seconds``."""

    seconds: Count = 0


class GpuDisagreement(Event, frozen=True, kw_only=True, tag="gpu.disagreement"):
    """A session's watch and root's on its node do not see the same on ``device`` (``state``: raised or cleared).

    ``evidence`` is JSON: what each of them says. One of the two is wrong, or lies; root's is the harder one to bend.
    """

    state: Name = ""
    device: Name = ""
    evidence: Path = ""
    simulated: bool = False
