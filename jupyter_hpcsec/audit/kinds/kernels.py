"""Kinds about kernels, as the gateway saw them asked for and spoken to."""

from jupyter_hpcsec.audit.events import Count, Digest, Event, Name


class _Kernel(Event, frozen=True, kw_only=True):
    """What is common to them: ``kernel`` is the kernel's id, ``message`` that of the message."""

    kernel: Name = ""
    message: Name = ""


class KernelStarted(_Kernel, frozen=True, kw_only=True, tag="kernel.started"):
    """The server started a kernel on request; ``object`` is the notebook that it is for, where there is one."""

    request: Name = ""


class KernelRestarted(_Kernel, frozen=True, kw_only=True, tag="kernel.restarted"):
    """A kernel was restarted on request."""

    request: Name = ""


class KernelInterrupted(_Kernel, frozen=True, kw_only=True, tag="kernel.interrupted"):
    """A kernel was interrupted: by a request, or by a message to it."""

    request: Name = ""


class KernelShutdown(_Kernel, frozen=True, kw_only=True, tag="kernel.shutdown"):
    """A kernel was told to end: by a request, or by a message to it."""

    request: Name = ""


class CellExecuted(_Kernel, frozen=True, kw_only=True, tag="cell.executed"):
    """A kernel is about to be given code. ``object`` has size and SHA-256 of the code's UTF-8.

    ``cell`` is the notebook's id of the cell, as the browser named it (JupyterLab: ``cellId``); others name none.
    Sealed beside it, by the recording policy: ``source``, and ``expressions`` (JSON) where such came along.
    """

    cell: Name = ""
    channel: Name = ""
    silent: bool = False
    store_history: bool = False
    expressions: Count = 0
    redacted: Count = 0


class KernelInput(_Kernel, frozen=True, kw_only=True, tag="kernel.input"):
    """A kernel that asked for input is about to get some. Sealed beside it, by the recording policy: ``input``."""

    redacted: Count = 0


class KernelDebug(_Kernel, frozen=True, kw_only=True, tag="kernel.debug"):
    """A request of the debugger is about to pass; some run code. Sealed, by the recording policy: ``arguments``."""

    command: Name = ""
    redacted: Count = 0


class KernelComm(_Kernel, frozen=True, kw_only=True, tag="kernel.comm"):
    """A comm's message passed: ``action`` open, msg or close; ``target`` names what was opened."""

    action: Name = ""
    comm: Name = ""
    target: Name = ""


class KernelMessaged(_Kernel, frozen=True, kw_only=True, tag="kernel.message"):
    """A message of another ``type`` passed, ``object`` has its size."""

    type: Name = ""
    channel: Name = ""


class KernelReply(_Kernel, frozen=True, kw_only=True, tag="kernel.reply"):
    """A cell is done: ``message`` is that of its ``cell.executed``. Sealed: ``outputs``, where they are recorded.

    ``digest`` is the SHA-256 of the outputs as they were recorded; ``truncated`` bytes of them were left out.
    """

    status: Name = ""
    execution_count: Count = 0
    duration_ms: Count = 0
    digest: Digest = ""
    truncated: Count = 0
    redacted: Count = 0
