"""The values of the attack suite: an attempt, what is expected of it, what came of it. Pure; nothing is tried here.

An attempt's function returns evidence when it succeeded, raises OSError when the kernel refused it and ``NotTried``
when it could not be tried. What could not be tried is never counted as refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NoReturn

from jupyter_hpcsec.access.values import Bind
from jupyter_hpcsec.ops.attack.targets import Targets


class Group(StrEnum):
    """What an attempt goes by."""

    FILES = "files"
    READ_ONLY = "read-only"
    MOUNTS = "mounts"
    PROCESSES = "processes"
    DESCRIPTORS = "descriptors"
    SOCKETS = "sockets"
    SERVICES = "services"
    SYSCALLS = "syscalls"
    JUPYTER = "jupyter"
    BATCH = "batch"
    ENVIRONMENT = "environment"


class Stop(StrEnum):
    """What stops an attempt."""

    MOUNTS = "mount namespace"
    LANDLOCK = "Landlock"
    SECCOMP = "seccomp"
    CAPABILITIES = "no capabilities"
    USER_NAMESPACES = "no user namespaces"
    NO_NEW_PRIVILEGES = "no new privileges"
    IPC = "IPC namespace"
    NETWORK = "a network of its own"
    DESCRIPTORS = "closed descriptors"
    ENVIRONMENT = "scrubbed environment"
    SERVER = "the policy in Jupyter's handlers"


class Ending(StrEnum):
    """What came of an attempt."""

    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    NOT_TRIED = "not tried"
    """Nothing is known: it is counted and shown as such."""
    FAILED = "failed"
    """A defect of the suite; nothing is known, and the run is no success."""


class Expected(StrEnum):
    """What should come of an attempt."""

    STOPPED = "stopped"
    OPEN = "open"
    NOT_APPLICABLE = "not applicable"


class NotTried(Exception):
    """The attempt could not be made; the message says what is missing."""


def not_tried(why: str) -> NoReturn:
    """End an attempt that can't be made."""
    raise NotTried(why)


@dataclass(frozen=True)
class Conditions:
    """What the expectations depend on. ``mounts``: the session has namespaces, and in them a file tree of its own."""

    abi: int
    bind: Bind = Bind.NONE
    mounts: bool = True

    def have(self, stop: Stop) -> bool:
        """Whether what stops an attempt is there at all."""
        if stop is Stop.NETWORK:
            return self.bind is Bind.PRIVATE
        return self.mounts or stop not in {Stop.MOUNTS, Stop.IPC, Stop.USER_NAMESPACES}


@dataclass(frozen=True)
class Prospect:
    """What should come of an attempt under some conditions, and why."""

    expected: Expected
    reason: str
    needs_abi: int = 0
    """The first Landlock ABI that would stop it; 0 when none does."""


@dataclass(frozen=True)
class Outcome:
    """What came of it. ``detail``: the evidence, the refusal, or what was missing; never what was read."""

    ending: Ending
    detail: str


@dataclass(frozen=True)
class Attempt:
    """One escape attempt. ``stops`` maps what stops it to the Landlock ABI that this needs (0: none).

    ``lawful`` holds what of the policy's ``network.bind`` makes it no escape; ``granted`` says why every session may.
    ``privileged``: even without a sandbox
    only root gets through; it is tried because a sandbox made with user namespaces could hand that power out.
    """

    id: str
    group: Group
    title: str
    tries: str
    run: Callable[[Targets], str]
    stops: Mapping[Stop, int] = field(default_factory=dict)
    lawful: frozenset[Bind] = frozenset()
    granted: str = ""
    privileged: bool = False

    def expect(self, conditions: Conditions) -> Prospect:
        """What should come of it."""
        if conditions.bind in self.lawful:
            return Prospect(Expected.NOT_APPLICABLE, f"the policy says network.bind: {conditions.bind}")
        if self.granted:
            return Prospect(Expected.NOT_APPLICABLE, self.granted)
        at_work = [stop for stop, abi in self.stops.items() if conditions.abi >= abi and conditions.have(stop)]
        if Stop.NETWORK in at_work:  # the rules for the node's network are off there
            at_work = [Stop.NETWORK]
        if at_work:
            return Prospect(Expected.STOPPED, " and ".join(at_work))
        later = self.stops.get(Stop.LANDLOCK, 0)
        if later:
            return Prospect(Expected.OPEN, f"needs ABI {later}", later)
        return Prospect(Expected.OPEN, f"needs {' or '.join(self.stops) or 'a site setting'}")


@dataclass(frozen=True)
class Tried:
    """One attempt with its expectation and its outcome."""

    attempt: Attempt
    prospect: Prospect
    outcome: Outcome

    @property
    def is_open(self) -> bool:
        """It got through where it should not, by design or by surprise."""
        return self.outcome.ending is Ending.SUCCEEDED and self.prospect.expected is not Expected.NOT_APPLICABLE

    @property
    def holds(self) -> bool:
        """Nothing to do about it: refused, lawful, or not tried (which says nothing)."""
        return not self.is_open and self.outcome.ending is not Ending.FAILED

    @property
    def verdict(self) -> str:
        """The word of the report."""
        if self.outcome.ending is not Ending.SUCCEEDED:
            return str(self.outcome.ending)
        if self.prospect.expected is Expected.NOT_APPLICABLE:
            return "lawful"
        return f"open ({self.prospect.reason})" if self.prospect.expected is Expected.OPEN else "GOT THROUGH"
