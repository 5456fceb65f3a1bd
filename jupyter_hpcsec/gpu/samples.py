"""What the watch sees, as frozen values. A field that is None is *not measurable*, which is not zero and not fine.

A sample holds no command line: what one says about mining is put into ``Holder.signs`` where it is read, and nothing
at all is read of other accounts' processes. Bytes, percent, milliwatts, MHz, seconds of Unix and of the monotonic time.
"""

from typing import Literal

from msgspec import Struct

State = Literal["ok", "absent", "lost", "refused", "error", "unsupported", "hung"]
"""``absent``: no driver, no device. ``lost``: it was there. ``refused``: permission. ``unsupported``: no such call."""

Kind = Literal["compute", "graphics", "mps"]
By = Literal["", "tree", "environment", "before", "cgroup"]
"""How a process is known to belong: a kernel above it, its environment, seen below one before, the cgroup."""

CellBy = Literal["", "id", "time"]
"""How the cell that made a context is known: ``id``: it alone was executed in the time in which the context appeared.
``time``: the last one that was. Empty: none is known."""

Whose = Literal["mine", "foreign", "system", "unseen"]
"""``system``: of root's or another service account's. ``unseen``: there is no such process in our /proc: blind."""


class Context(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One process on one device. ``memory`` and ``utilisation`` (of the device's SMs): None where not measurable."""

    pid: int
    kind: Kind = "compute"
    memory: int | None = None
    utilisation: int | None = None


class Device(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A GPU, or a MIG instance of one (``parent`` is then the GPU's UUID).

    ``contexts`` is only complete where ``contexts_state`` is ``ok``. ``memory_used`` leaves the driver's own reserve
    out (NVML's memory v2), None where the driver does not tell them apart... then ``memory_reserved`` is None, too.
    """

    uuid: str
    index: int
    minor: int | None = None
    name: str = ""
    parent: str = ""
    state: State = "ok"
    detail: str = ""
    memory_total: int | None = None
    memory_used: int | None = None
    memory_reserved: int | None = None
    utilisation: int | None = None
    power_mw: int | None = None
    power_limit_mw: int | None = None
    clock_mhz: int | None = None
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    xid: int | None = None
    contexts: tuple[Context, ...] = ()
    contexts_state: State = "ok"
    split: bool = False
    """In MIG mode: what runs is on its instances."""
    compute_mode: int | None = None
    """NVML's: 0 is the default, 2 nobody may, 3 one process at a time."""


class Posture(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the driver and the node are set. None: not visible from here."""

    profiling_open: bool | None = None
    """Performance counters for everybody (``RmProfilingAdminOnly: 0``): a side channel (CVE-2018-6260)."""
    devices_unconstrained: bool | None = None
    """More GPUs can be opened than are allocated: Slurm's ``ConstrainDevices`` is off."""
    persistence: bool | None = None
    library: str = ""
    library_trusted: bool | None = None
    preloaded: tuple[str, ...] = ()
    """Libraries that do not belong into the process that asks the driver (``library.strangers``)."""


class Reading(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that one source (the NVIDIA or AMD driver) says at one moment."""

    source: str = ""
    state: State = "ok"
    detail: str = ""
    driver: str = ""
    simulated: bool = False
    posture: Posture = Posture()
    devices: tuple[Device, ...] = ()


class Process(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A process as ``/proc`` tells: of another account's only what everybody sees, its uid and its start."""

    pid: int
    start: int = 0
    """Clock ticks after boot: tells a process from a later owner of its pid."""
    parent: int = 0
    uid: int = -1
    cgroup: str = ""
    """The job's cgroup that it is in (``processes.job_of``), empty where none is seen."""
    kernel: str = ""
    """The kernel id in its environment. The user's own word, believed about the user's own kernels only."""
    name: str = ""
    signs: tuple[str, ...] = ()


class Scan(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One tick of the sampler: what the drivers say and the processes from each GPU pid up to the top."""

    time: float
    mono: float
    readings: tuple[Reading, ...] = ()
    processes: tuple[Process, ...] = ()
    uid: int = -1
    cgroup: str = ""
    server: int = 0
    cpu_s: float = 0.0


class Ran(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One execution: its request's message id, and seconds of the monotonic clock; ``ended`` is None while it runs."""

    id: str
    begun: float
    ended: float | None = None


class KernelFact(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the notebook server knows of one kernel. ``since``: Unix time at which ``busy`` last changed.

    ``cell`` names what was executed last (the request's message id); ``ran`` are the last executions, None where the
    kernel is not heard.
    """

    id: str
    pid: int = 0
    start: int = 0
    path: str = ""
    busy: bool | None = None
    since: float = 0.0
    cell: str = ""
    ran: tuple[Ran, ...] | None = None
    kept_s: float = 0.0
    """Seconds that its user asked for beyond the limit."""


class Holder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One process that holds a context, and whose it is. ``leftover``: of a kernel that is gone, or started anew.

    ``cell`` is the message id of the execution that made its first context, ``cell_by`` how that is known.
    """

    pid: int
    start: int = 0
    whose: Whose = "unseen"
    by: By = ""
    kernel: str = ""
    leftover: bool = False
    cell: str = ""
    cell_by: CellBy = ""
    name: str = ""
    signs: tuple[str, ...] = ()


class Allocation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What root wrote down for this job: which devices, by UUID (``node.allocated``), and its uid (-1: not told)."""

    job: str
    devices: tuple[str, ...] = ()
    uid: int = -1


class Sample(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the rules judge. ``allocation`` is None where root wrote none: then the watch says *unverified*."""

    time: float
    mono: float
    readings: tuple[Reading, ...] = ()
    holders: tuple[Holder, ...] = ()
    kernels: tuple[KernelFact, ...] = ()
    allocation: Allocation | None = None
    job_over: bool = False
    """Looked at by root after the job: nothing of it should be left."""

    def devices(self) -> tuple[Device, ...]:
        """Of all sources."""
        return tuple(device for reading in self.readings for device in reading.devices)
