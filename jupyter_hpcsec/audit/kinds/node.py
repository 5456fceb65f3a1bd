"""Kinds about what happens on the compute nodes: told by the nodes, and what the gateway makes of their telling.

The first ones, which derive from ``Told``, are the only ones that a node may tell; a kind of another area becomes one
by deriving from it, too.
"""

from jupyter_hpcsec.audit.events import Count, Event, Name, Path, Sentence, Told

# Told by nodes


class NodeServerStarted(Told, frozen=True, kw_only=True, tag="node.server-started"):
    """The notebook server runs in its sandbox; ``facts`` (JSON) is the receipt: what is enforced."""

    facts: Path = ""


class NodeServerEnded(Told, frozen=True, kw_only=True, tag="node.server-ended"):
    """The notebook server ended, or the agent ends it; with the totals of the session as the node saw them."""

    kernels: Count = 0
    terminals: Count = 0
    events: Count = 0
    lost: Count = 0


class NodeHeartbeat(Told, frozen=True, kw_only=True, tag="node.heartbeat"):
    """The node is there; ``kernels`` and ``terminals`` started, ``events`` told and ``lost`` since the start."""

    kernels: Count = 0
    terminals: Count = 0
    events: Count = 0
    lost: Count = 0


class NodeKernelStarted(Told, frozen=True, kw_only=True, tag="node.kernel-started"):
    """A kernel of the specification ``spec`` was started (or restarted) by the server."""

    kernel: Name = ""
    spec: Name = ""


class NodeKernelStopped(Told, frozen=True, kw_only=True, tag="node.kernel-stopped"):
    """A kernel was shut down by the server."""

    kernel: Name = ""


class NodeKernelDied(Told, frozen=True, kw_only=True, tag="node.kernel-died"):
    """A kernel ended that nobody had shut down."""

    kernel: Name = ""


class NodeTerminalOpened(Told, frozen=True, kw_only=True, tag="node.terminal-opened"):
    """A terminal was opened."""

    terminal: Name = ""


class NodeAccessRefused(Told, frozen=True, kw_only=True, tag="node.access-refused"):
    """The contents manager or the files handler refused a path by the policy: ``rule`` says by what."""


class NodeRequestRefused(Told, frozen=True, kw_only=True, tag="node.request-refused"):
    """The notebook server refused a request: for a closed place, or for an app; ``count`` of them, past the first."""

    count: Count = 1


class NodeListenRefused(Told, frozen=True, kw_only=True, tag="node.listen-refused"):
    """Processes of the session were refused to listen on the network; ``pid`` is the last one's."""

    pid: Count = 0
    count: Count = 1


class NodeAlarm(Told, frozen=True, kw_only=True, tag="node.alarm"):
    """Something that protects the session no longer holds: ``rule`` names it, ``reason`` says what is done."""


class NodeLost(Told, frozen=True, kw_only=True, tag="node.lost"):
    """Events that happened on the node and are not told, since there was no room: how many of which kind."""

    lost: Count = 0
    kinds: Sentence = ""


AGENTS_OWN = (NodeServerStarted, NodeServerEnded, NodeHeartbeat, NodeListenRefused, NodeAlarm)
"""What only the agent sees: the notebook server, which runs as the user, can't tell it."""

# The gateway's own


class NodeGap(Event, frozen=True, kw_only=True, tag="node.gap"):
    """Numbers ``first`` to ``last`` of a node's events never came, or its agent's ``boot`` changed under it."""

    boot: Count = 0
    first: Count = 0
    last: Count = 0


class NodeRefused(Event, frozen=True, kw_only=True, tag="node.refused"):
    """What a node told was refused: an unknown kind, one that is not the node's to tell, or malformed."""

    boot: Count = 0
    seq: Count = 0


class SessionHeartbeat(Event, frozen=True, kw_only=True, tag="session.heartbeat"):
    """A session's totals as the gateway saw them until now; ``told`` is the number of its node's last event."""

    connected: bool = False
    streams: Count = 0
    bytes_from_node: Count = 0
    bytes_to_node: Count = 0
    told: Count = 0


class SessionSilent(Event, frozen=True, kw_only=True, tag="session.silent"):
    """The node's heartbeat is missing for ``seconds``: what it does is not told."""

    seconds: Count = 0


class SessionHeard(Event, frozen=True, kw_only=True, tag="session.heard"):
    """The node of a silent session tells again, after ``seconds``."""

    seconds: Count = 0
