"""The contents manager of a session: Jupyter's own for files, asking the session's policy first.

People see a lock, a read-only notebook, or a 403 that names the rule and whom to ask. It is the courtesy, not the wall:
whatever gets past it (a kernel, another extension) meets the kernel's enforcement of the same policy.

Paths are decided on by where they really lead, so that symbolic links work wherever both ends are allowed, and every
file is opened by ``gate`` and ``changes``.
"""

import errno
import os
import stat
from base64 import decodebytes
from datetime import UTC, datetime
from functools import partial
from typing import Any

import nbformat
from anyio.to_thread import run_sync
from jupyter_server.services.contents import filemanager
from jupyter_server.services.contents.filecheckpoints import AsyncFileCheckpoints
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from send2trash import send2trash
from tornado.web import HTTPError
from traitlets import Instance, Type, default

from jupyter_hpcsec.access import changes
from jupyter_hpcsec.access.checkpoints import HpcsecCheckpoints
from jupyter_hpcsec.access.files import HpcsecFilesHandler
from jupyter_hpcsec.access.gate import Gate, delivered
from jupyter_hpcsec.access.guarded import GuardedFiles
from jupyter_hpcsec.access.values import Right
from jupyter_hpcsec.errors import Unavailable

Model = dict[str, Any]

TEXT, BASE64 = "text", "base64"


class HpcsecContentsManager(GuardedFiles, AsyncLargeFileManager):  # type: ignore[misc]
    """``AsyncLargeFileManager`` behind a gate. Its handler and its checkpoints can't be configured away."""

    gate = Instance(Gate)
    checkpoints_class = Type(HpcsecCheckpoints, klass=AsyncFileCheckpoints)
    files_handler_class = Type(HpcsecFilesHandler)

    @default("gate")
    def _default_gate(self) -> Gate:
        gate = delivered(os.environ)
        if gate is None:
            raise Unavailable("HpcsecContentsManager needs the access rules of a session.")
        return gate

    @default("checkpoints_class")
    def _checkpoints_class_default(self) -> type[HpcsecCheckpoints]:
        return HpcsecCheckpoints

    @default("files_handler_class")
    def _files_handler_class_default(self) -> type[HpcsecFilesHandler]:
        return HpcsecFilesHandler

    # What a path of the API means

    def _lexical(self, path: str) -> str:
        """The path on disk as it is called, inside the root by its spelling; nothing is decided."""
        return str(super()._get_os_path(path.strip("/")))

    def _get_os_path(self, path: str) -> str:
        """As ``_lexical``, and 403 for a path that leads to where nothing may be done.

        Everything that turns an API path into one on disk comes by here, foreign extensions included.
        """
        own = self._lexical(path)
        with self.perm_to_403(own):
            if not self.gate.leads_on(own):
                self.gate.require(own, Right.READ, shown=path)
        return own

    async def is_hidden(self, path: str) -> bool:
        """Whether a path has a name that begins with a dot: a question about names, which refuses nobody.

        Jupyter also calls hidden what can't be listed; of what the policy closes that is said by a 403, not by a 404.
        """
        own = self._lexical(path)
        if self._is_closed(own):
            return _has_hidden_name(own, self.root_dir)
        return _is_hidden(own, self.root_dir)

    def _is_closed(self, own: str) -> bool:
        """Whether the policy lets nothing be seen of a path, nor lets it be passed."""
        return not self.gate.may(own, Right.READ) and not self.gate.leads_on(own)

    def is_writable(self, path: str) -> bool:
        """Whether policy and permissions let the path be changed."""
        own = self._lexical(path)
        return self.gate.may(own, Right.WRITE) and os.access(own, os.W_OK)

    # Reading

    async def get(self, path: str, *args: Any, **kwargs: Any) -> Model:
        """The model of a file or directory; 403 where the policy or the system refuses it, 404 where nothing is."""
        with self.perm_to_403(self._lexical(path)):
            model: Model = await super().get(path, *args, **kwargs)
            return model

    async def _read_notebook(
        self, os_path: str, as_version: int = 4, capture_validation_error: Any = None, raw: bool = False
    ) -> Any:
        """As Jupyter's: a notebook that a failed save left unreadable is put back from ``.~name``, where one may."""
        content, _, bytes_content = await self._read_file(os_path, TEXT, True)  # type: ignore[misc]  # with raw, three
        read = partial(nbformat.reads, as_version=as_version, capture_validation_error=capture_validation_error)
        try:
            notebook = await run_sync(read, content)
        except Exception as error:
            if not self._put_back(os_path):
                raise HTTPError(400, f"Unreadable Notebook: {os_path} {error!r}") from error
            return await self._read_notebook(os_path, as_version, capture_validation_error, raw)
        return (notebook, bytes_content) if raw else notebook

    def _put_back(self, os_path: str) -> bool:
        above, name = os.path.split(os_path)
        kept = os.path.join(above, f".~{name}")
        if not self.use_atomic_writing or not os.path.exists(kept) or not self.gate.may(os_path, Right.WRITE):
            return False
        with self.perm_to_403(os_path):
            changes.move(self.gate, os_path, f"{os_path}.invalid")
            changes.move(self.gate, kept, os_path)
        return True

    # Listing

    async def _dir_model(self, path: str, content: bool = True) -> Model:
        """A directory. One that is only passed on the way to something allowed shows the names that lead there."""
        own = self._get_os_path(path)
        if not os.path.isdir(own) or (not self.allow_hidden and _is_hidden(own, self.root_dir)):
            raise HTTPError(404, f"directory does not exist: {path!r}")
        model: Model = self._base_model(path)
        model.update(type="directory", size=None)
        if content:
            names = self.gate.names_on(own) if self.gate.leads_on(own) else await run_sync(os.listdir, own)
            entries = [await self._entry(path, own, name) for name in names]
            model.update(content=[entry for entry in entries if entry is not None], format="json")
        return model

    async def _entry(self, path: str, directory: str, name: str) -> Model | None:
        """What a listing says of one name; None for what it leaves out."""
        own = os.path.join(directory, name)
        try:
            facts = await run_sync(os.lstat, own)
            listed = (stat.S_ISLNK, stat.S_ISREG, stat.S_ISDIR)
            if not any(is_kind(facts.st_mode) for is_kind in listed) or not self.should_list(name):
                return None
            is_closed = self._is_closed(own)
            if not self.allow_hidden and (name.startswith(".") if is_closed else _is_hidden(own, directory)):
                return None
            if is_closed:
                return None if self.gate.resolved.hide_denied else _locked(f"{path}/{name}".strip("/"), facts)
            return await self.get(path=f"{path}/{name}", content=False)
        except (OSError, HTTPError) as error:
            # a link that leads nowhere, a name that went meanwhile, a place that the system itself closes
            self.log.debug("%s is left out of the listing: %s", own, error)
            return None

    # Writing

    async def save(self, model: Model, path: str = "") -> Model:
        """Save, where the policy lets the path be changed."""
        own = self._lexical(path)
        with self.perm_to_403(own):
            self.gate.require(own, Right.WRITE, shown=path)
            saved: Model = await super().save(model, path)
            return saved

    async def _save_directory(self, os_path: str, model: Model, path: str = "") -> None:
        if not self.allow_hidden and _is_hidden(os_path, self.root_dir):
            raise HTTPError(400, f"Cannot create hidden directory {os_path!r}")
        with self.perm_to_403(os_path):
            if not os.path.exists(os_path):
                await run_sync(changes.make_directory, self.gate, os_path)
            elif not os.path.isdir(os_path):
                raise HTTPError(400, f"Not a directory: {os_path}")

    async def _save_large_file(self, os_path: str, content: str, format: str | None) -> None:
        if format not in {TEXT, BASE64}:
            raise HTTPError(400, "Must specify format of file contents as 'text' or 'base64'")
        try:
            added = content.encode() if format == TEXT else decodebytes(content.encode("ascii"))
        except ValueError as error:
            raise HTTPError(400, f"Encoding error saving {os_path}: {error}") from error
        with self.perm_to_403(os_path):
            await run_sync(changes.append, self.gate, os_path, added)

    async def delete_file(self, path: str) -> None:
        """Delete a file, a symbolic link itself, or a directory below which everything may be changed."""
        own = self._lexical(path)
        if not self.allow_hidden and _is_hidden(own, self.root_dir):
            raise HTTPError(400, f"Cannot delete file or directory {own!r}")
        with self.perm_to_403(own):
            real = self.gate.require_whole(own, shown=path)
            if not os.path.lexists(own):
                raise HTTPError(404, f"File or directory does not exist: {path}")
            is_directory = os.path.isdir(real) and not os.path.islink(real)
            if self.delete_to_trash:
                if not os.path.islink(real) and not os.access(real, os.W_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), own)
                await run_sync(_to_trash, real)
                return
            if is_directory and not self.always_delete_dir:
                kept = {getattr(self.checkpoints, "checkpoint_dir", None)}
                if set(await run_sync(os.listdir, real)) - kept:
                    raise HTTPError(400, f"Directory {path} not empty")
            await run_sync(changes.remove, self.gate, own)

    async def rename_file(self, old_path: str, new_path: str) -> None:
        """Rename what may be changed as a whole, to where it may be."""
        old_path, new_path = old_path.strip("/"), new_path.strip("/")
        if new_path == old_path:
            return
        old, new = self._lexical(old_path), self._lexical(new_path)
        if not self.allow_hidden and (_is_hidden(old, self.root_dir) or _is_hidden(new, self.root_dir)):
            raise HTTPError(400, f"Cannot rename file or directory {old!r}")
        with self.perm_to_403(old):
            self.gate.require_whole(old, shown=old_path)
            self.gate.require_whole(new, shown=new_path)
            if os.path.lexists(new) and not (os.path.lexists(old) and os.path.samestat(os.lstat(old), os.lstat(new))):
                raise HTTPError(409, f"File already exists: {new_path}")
            try:
                await run_sync(changes.move, self.gate, old, new)
            except FileNotFoundError as error:
                raise HTTPError(404, f"File or directory does not exist: {old_path}") from error

    async def _copy_dir(self, from_path: str, to_path_original: str, to_name: str, to_path: str) -> Model:
        source = self._lexical(from_path)
        target = os.path.join(self._lexical(to_path_original), to_name)
        with self.perm_to_403(target):
            try:
                await run_sync(changes.copy_tree, self.gate, source, target)
            except OSError as error:
                if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
                    raise
                raise HTTPError(400, f"Can't copy {from_path!r} to {to_path!r}: {error}") from error
        return await self.get(to_path, content=False)


def _is_hidden(path: str, root: str) -> bool:
    """Jupyter's own answer, under the name that it has there; below a file nothing is hidden, since nothing is."""
    try:
        return bool(filemanager.is_hidden(path, root))  # type: ignore[attr-defined]
    except NotADirectoryError:
        return False


def _has_hidden_name(path: str, root: str) -> bool:
    return any(name.startswith(".") for name in os.path.relpath(path, root).split(os.sep) if name not in {".", ".."})


def _to_trash(real: str) -> None:
    try:
        send2trash(real)
    except OSError as error:
        raise HTTPError(400, f"send2trash failed: {error}") from error


def _locked(path: str, facts: os.stat_result) -> Model:
    """What people see of a name that is closed to them: that it is there, nothing of what it holds."""
    at = datetime.fromtimestamp(max(facts.st_mtime, 0), UTC)
    kind = "directory" if stat.S_ISDIR(facts.st_mode) else "file"
    return {
        "name": path.rsplit("/", 1)[-1], "path": path, "type": kind, "writable": False, "size": None,
        "created": at, "last_modified": at, "content": None, "format": None, "mimetype": None,
        "hash": None, "hash_algorithm": None, "closed": True,
    }  # fmt: skip
