"""Checkpoints under the same rules as the files that they are copies of.

They lie in ``.ipynb_checkpoints`` beside the file, or in the session's temporary directory where that can't be changed.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from anyio.to_thread import run_sync
from jupyter_server.services.contents.filecheckpoints import AsyncFileCheckpoints

from jupyter_hpcsec.access import changes
from jupyter_hpcsec.access.gate import Gate
from jupyter_hpcsec.access.guarded import GuardedFiles
from jupyter_hpcsec.access.values import Right

ASIDE = "jupyter_checkpoints"


class HpcsecCheckpoints(GuardedFiles, AsyncFileCheckpoints):
    """``AsyncFileCheckpoints`` behind the contents manager's gate."""

    @property
    def gate(self) -> Gate:  # type: ignore[override]
        """The contents manager's."""
        gate: Gate = self._manager.gate
        return gate

    @property
    def _manager(self) -> Any:
        return self.parent

    async def restore_checkpoint(self, contents_mgr: Any, checkpoint_id: str, path: str) -> None:
        """Put the copy back, where the policy lets the file be changed."""
        source = self.checkpoint_path(checkpoint_id, path)
        if not os.path.isfile(source):
            self.no_such_checkpoint(path, checkpoint_id)
        await self._copy(source, contents_mgr._get_os_path(path))

    async def rename_checkpoint(self, checkpoint_id: str, old_path: str, new_path: str) -> None:
        """Move the copy with its file."""
        old, new = self.checkpoint_path(checkpoint_id, old_path), self.checkpoint_path(checkpoint_id, new_path)
        if os.path.isfile(old):
            with self.perm_to_403(new):
                await run_sync(changes.move, self.gate, old, new)

    async def delete_checkpoint(self, checkpoint_id: str, path: str) -> None:
        """Remove the copy."""
        copy = self.checkpoint_path(checkpoint_id, path)
        if not os.path.isfile(copy):
            self.no_such_checkpoint(path, checkpoint_id)
        with self.perm_to_403(copy):
            await run_sync(changes.remove, self.gate, copy)

    def checkpoint_path(self, checkpoint_id: str, path: str) -> str:
        """Where the copy lies or would lie; 403 when the file itself can't be read. Its directory is made."""
        above, name = os.path.split(self._checked(path))
        stem, extension = os.path.splitext(name)
        directory = os.path.join(above, self.checkpoint_dir)
        if not (self.gate.may(directory, Right.WRITE) and os.access(above, os.W_OK)):
            below = os.path.relpath(os.path.realpath(above), os.path.realpath(self.root_dir))
            directory = os.path.join(tempfile.gettempdir(), ASIDE, below.replace("..", "__"))
        with self.perm_to_403(directory):
            self._make(directory)
        return os.path.join(directory, f"{stem}-{checkpoint_id}{extension}")

    def _checked(self, path: str) -> str:
        """The file on disk, as the contents manager calls it; 403 for one that can't be read."""
        return str(self._manager._get_os_path(path))

    def _make(self, directory: str) -> None:
        missing = []
        place = Path(directory)
        while not place.exists():
            missing.append(str(place))
            place = place.parent
        for path in reversed(missing):
            changes.make_directory(self.gate, path)
