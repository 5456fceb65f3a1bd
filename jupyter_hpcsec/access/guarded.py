"""What the contents manager and its checkpoints share: Jupyter's ways to open and copy files, led through the gate."""

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from anyio.to_thread import run_sync
from jupyter_server.services.contents.fileio import FileManagerMixin
from jupyter_server.utils import to_api_path
from tornado.web import HTTPError

from jupyter_hpcsec.access import changes
from jupyter_hpcsec.errors import Refused

if TYPE_CHECKING:
    from jupyter_hpcsec.access.gate import Gate

NOT_PERMITTED = frozenset((errno.EACCES, errno.EPERM, errno.EROFS))
"""How the system says no. EROFS is a read-only place of the sandbox, too."""

CREATING = {
    "r": 0,
    "w": os.O_CREAT | os.O_TRUNC,
    "a": os.O_CREAT | os.O_APPEND,
    "x": os.O_CREAT | os.O_EXCL,
}
"""What ``open``'s modes ask for, by their first letter (open(2))."""


class GuardedFiles(FileManagerMixin):
    """Before ``AsyncFileManagerMixin`` among the bases. The class has a ``gate``."""

    gate: "Gate"
    root_dir: str

    @contextlib.contextmanager
    def perm_to_403(self, os_path: str = "") -> Iterator[None]:
        """Turn what the policy or the system refuses into 403, with the reason for people."""
        try:
            yield
        except Refused as error:
            self.gate.on_refused(os_path, error)
            raise HTTPError(403, error.reason) from error
        except OSError as error:
            if error.errno not in NOT_PERMITTED:
                raise
            path = to_api_path(os_path or str(error.filename or "unknown file"), root=self.root_dir)
            raise HTTPError(403, f"Permission denied: {path}") from error

    @contextlib.contextmanager
    def open(self, os_path: str, mode: str = "r", *args: Any, **kwargs: Any) -> Iterator[IO[Any]]:
        """``io.open`` of what the policy allows; 403 else."""
        flags = os.O_RDWR if "+" in mode else os.O_RDONLY if "r" in mode else os.O_WRONLY
        with self.perm_to_403(os_path):
            descriptor = self.gate.open_regular(os_path, flags | CREATING[mode[0]])
            with io.open(descriptor, mode, *args, **kwargs) as file:  # noqa: UP020 - this class has an open of its own
                yield file

    @contextlib.contextmanager
    def atomic_writing(
        self, os_path: str, text: bool = True, encoding: str = "utf-8", **_kwargs: Any
    ) -> Iterator[IO[Any]]:
        """A file to write anew, where the policy allows it; 403 else."""
        keep = bool(self.use_atomic_writing)
        writing = changes.writing(self.gate, os_path, text=text, encoding=encoding if text else None, keep=keep)
        with self.perm_to_403(os_path), writing as file:
            yield file

    async def _copy(self, src: str, dest: str) -> None:
        with self.perm_to_403(dest):
            await run_sync(changes.copy_file, self.gate, src, dest)
