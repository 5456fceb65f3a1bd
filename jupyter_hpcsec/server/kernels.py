"""Kernels are reached by unix sockets, whatever a user's configuration file says: another way could not work here."""

from traitlets.config import Config

SUFFIX = "KernelManager"
"""Ends the name of every class that starts one kernel: ``KernelManager``, ``AsyncKernelManager``, …"""
FIXED = ("transport", "ip", "shell_port", "iopub_port", "stdin_port", "hb_port", "control_port")
"""Settings that would lead a kernel to the network, or its sockets out of the private directory."""


def keep_kernels_local(config: Config) -> list[str]:
    """Set ``transport`` to ``ipc`` in ``config`` and take out what stands against it; the settings taken out."""
    taken = []
    for section in [name for name in config if name.endswith(SUFFIX)]:
        for name in FIXED:
            if name in config[section]:
                value = config[section].pop(name)
                if (name, value) != ("transport", "ipc"):
                    taken.append(f"{section}.{name}")
    config.KernelManager.transport = "ipc"
    return sorted(taken)
