"""Kinds about GPUs, as the watch in a session sees them (``gpu``): its own word, like all that a node says."""

from jupyter_hpcsec.audit.events import Count, Name, Path, Sentence, Told


class GpuAlert(Told, frozen=True, kw_only=True, tag="gpu.alert"):
    """A rule of the watch (``rule``: R1 to R7) raised or cleared an alert (``state``); ``evidence`` is JSON.

    ``action`` is what the site's settings do about it.
    """

    state: Name = ""
    device: Name = ""
    kernel: Name = ""
    pid: Count = 0
    confidence: Name = ""
    threshold: Sentence = ""
    action: Name = ""
    evidence: Path = ""
    simulated: bool = False


class GpuWatch(Told, frozen=True, kw_only=True, tag="gpu.watch"):
    """The watch itself: ``state`` is started, seeing (so many of the job's ``devices``), stopped, hung or ended.

    ``blind``: what it could not judge, as JSON.
    """

    state: Name = ""
    blind: Path = ""
    devices: Count = 0


class GpuKept(Told, frozen=True, kw_only=True, tag="gpu.kept"):
    """The user extended a kernel's idle limit by ``minutes``."""

    kernel: Name = ""
    minutes: Count = 0


class GpuReleased(Told, frozen=True, kw_only=True, tag="gpu.released"):
    """A kernel was restarted or shut down to release its GPU memory: by the user, or by rule R3."""

    kernel: Name = ""


class GpuUse(Told, frozen=True, kw_only=True, tag="gpu.use"):
    """What a kernel did on GPUs in the ``span_s`` seconds before: device-seconds at work, held idle, not measurable.

    Devices are counted in parts where several processes share one. ``memory`` is the most that it held, in bytes.
    """

    kernel: Name = ""
    notebook: Path = ""
    span_s: Count = 0
    used_s: Count = 0
    held_s: Count = 0
    unknown_s: Count = 0
    memory: Count = 0
    simulated: bool = False
