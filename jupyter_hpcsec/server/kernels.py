"""Kernels are reached by unix sockets, whatever a user's configuration file says: another way could not work here."""

import zmq
from jupyter_client.manager import KernelManager
from traitlets.config import Config

SUFFIX = "KernelManager"
"""Ends the name of every class that starts one kernel: ``KernelManager``, ``AsyncKernelManager``, …"""
FIXED = ("transport", "transport_encryption", "ip", "shell_port", "iopub_port", "stdin_port", "hb_port", "control_port")
"""Settings that would lead a kernel to the network, or its sockets out of the private directory."""


def keep_kernels_local(config: Config) -> list[str]:
    """Set ``transport`` to ``ipc``, encrypted, and take out what stands against it; the settings taken out."""
    taken = []
    for section in [name for name in config if name.endswith(SUFFIX)]:
        for name in FIXED:
            if name in config[section]:
                value = config[section].pop(name)
                if (name, value) not in {("transport", "ipc"), ("transport_encryption", "auto")}:
                    taken.append(f"{section}.{name}")
    config.KernelManager.transport = "ipc"
    if can_encrypt():
        config.KernelManager.transport_encryption = "auto"
    return sorted(taken)


def can_encrypt() -> bool:
    """Whether kernels that know how (ipykernel 7) can be spoken to with keys of their own (CurveZMQ).

    Without, whoever connects to a kernel's socket sees what the kernel shows: other kernels of the session could, since
    Landlock does not yet govern connecting to a socket by its path.
    """
    return KernelManager.class_traits().get("transport_encryption") is not None and bool(zmq.has("curve"))
