"""``hpcsec-provisioner``: starts every kernel of a session, in a sandbox of its own and without the session's secrets.

It is Jupyter's local provisioner but for three things: the environment, a directory of the kernel's own for its
connection file and sockets, and the command (``confine``). Interrupt, restart and shutdown are Jupyter's: signals go
from the server into the kernel's sandbox, none comes out of it.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase
from tornado.web import HTTPError

from jupyter_hpcsec.access.gate import Gate
from jupyter_hpcsec.access.values import Right
from jupyter_hpcsec.audit.kinds.node import NodeKernelDied, NodeKernelStarted, NodeKernelStopped, NodeRequestRefused
from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.server.confine import confined, inside, private_directory, scrubbed
from jupyter_hpcsec.server.events import tell

NAME = "hpcsec-provisioner"
KERNEL_VARIABLE = "JUPYTER_HPCSEC_KERNEL"
"""The kernel's id, in its own environment and that of all it starts."""

LIKE_OURS = frozenset((NAME, "local-provisioner"))
"""What a kernel specification may name and get this one."""

KERNELS = "k"
"""The directory of the kernels' directories. Names are short: unix(7) allows 107 bytes for a socket's path."""


class HpcsecProvisioner(LocalProvisioner):
    """One kernel. ``gate`` is asked about its working directory; None where no rules were delivered."""

    gate: Gate | None = None
    _place: Path | None = None
    _is_over = True

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Everything that a kernel is started with; 403 for a working directory that the policy closes."""
        if kwargs.get("cwd"):
            self._check(str(kwargs["cwd"]))
        # Before kernel.json's own variables are filled in, which could carry a token under another name.
        kwargs["env"] = scrubbed(kwargs.get("env") or os.environ)
        private = private_directory(os.environ)
        self._move_in(private)
        kwargs = await super().pre_launch(**kwargs)
        kwargs["env"] = {**inside(kwargs["env"]), KERNEL_VARIABLE: self.kernel_id}
        program = _found(kwargs["cmd"], kwargs["env"])
        kwargs["cmd"] = confined(program, private, opened=[self._place] if self._place else [])
        return kwargs

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start it; ``cmd`` is already the sandbox's."""
        connected = await super().launch_kernel(cmd, **kwargs)
        self._is_over = False
        tell(NodeKernelStarted(kernel=self.kernel_id, spec=str(getattr(self.parent, "kernel_name", ""))))
        return connected

    async def poll(self) -> int | None:
        """None while it runs; that it ended by itself is told once."""
        status = await super().poll()
        if status is not None and not self._is_over:
            self._is_over = True
            tell(NodeKernelDied(kernel=self.kernel_id, reason=f"exit status {status}"))
        return status

    async def shutdown_requested(self, restart: bool = False) -> None:
        """The server ends it, or starts it anew."""
        await super().shutdown_requested(restart=restart)
        self._stopped()

    async def terminate(self, restart: bool = False) -> None:
        """Likewise."""
        self._stopped()
        await super().terminate(restart=restart)

    async def kill(self, restart: bool = False) -> None:
        """Likewise."""
        self._stopped()
        await super().kill(restart=restart)

    def _stopped(self) -> None:
        if not self._is_over:
            self._is_over = True
            tell(NodeKernelStopped(kernel=self.kernel_id))

    async def cleanup(self, restart: bool = False) -> None:
        """Remove what the kernel left in its directory, unless it starts again."""
        await super().cleanup(restart=restart)
        if self._place is not None and not restart:
            shutil.rmtree(self._place, ignore_errors=True)
            self._place = None

    def _move_in(self, private: Path) -> None:
        """Give the kernel a directory of its own; from then on its connection file and sockets lie there."""
        manager: Any = self.parent
        if manager is None or self._place is not None:
            return
        place = private / KERNELS / self.kernel_id[:8]
        place.mkdir(mode=0o700, parents=True)
        # The file's name is what people's tools look for to learn a kernel's id.
        manager.connection_file = str(place / f"kernel-{self.kernel_id}.json")
        manager.ip = str(place / "s")
        self._place = place

    def _check(self, cwd: str) -> None:
        if self.gate is None or self.gate.leads_on(cwd):
            return
        try:
            self.gate.require(cwd, Right.READ)
        except Refused as error:
            self.gate.on_refused(cwd, error)
            raise HTTPError(403, f"The kernel can't start there. {error.reason}") from error


def _found(command: list[str], environment: Mapping[str, str]) -> list[str]:
    """A kernel's command, with ``~`` resolved as jupyter_client does; 500 with its name when it can't be run."""
    program = [os.path.expanduser(word) for word in command]  # noqa: PTH111 - words, of which some are paths
    if shutil.which(program[0], path=environment.get("PATH", os.defpath)) is None:
        raise HTTPError(500, f"The kernel's program {program[0]} is not on this node.")
    return program


class HpcsecProvisionerFactory(KernelProvisionerFactory):
    """Gives every kernel specification, whoever installed it, our provisioner, or a reason why not."""

    gate: Gate | None = None

    def is_provisioner_available(self, kernel_spec: KernelSpec) -> bool:
        """True: a specification that names another provisioner is shown; it is refused when it is used."""
        return True

    def create_provisioner_instance(
        self, kernel_id: str, kernel_spec: KernelSpec, parent: Any
    ) -> KernelProvisionerBase:
        """Our provisioner; 403 for a kernel that would be started by other means."""
        named = (kernel_spec.metadata.get("kernel_provisioner") or {}).get("provisioner_name", NAME)
        if named not in LIKE_OURS:
            reason = f"a kernel that {named} would start"
            tell(NodeRequestRefused(decision="refused", rule="kernel.provisioner", reason=reason))
            raise HTTPError(
                403,
                f"The kernel {kernel_spec.display_name!r} wants to be started by {named!r}. In this session only "
                f"{NAME} starts kernels: take 'kernel_provisioner' out of "
                f"{Path(kernel_spec.resource_dir, 'kernel.json')}, or use another kernel.",
            )
        provisioner = HpcsecProvisioner(kernel_id=kernel_id, kernel_spec=kernel_spec, parent=parent)
        provisioner.gate = self.gate
        return provisioner


def install(parent: Any, gate: Gate | None) -> None:
    """Make our factory the one that every kernel manager of this process asks."""
    KernelProvisionerFactory.clear_instance()
    HpcsecProvisionerFactory.instance(parent=parent).gate = gate
