"""``/hpcsec/api/transfers``: resumable uploads by tus 1.0.0, and the SHA-256 of files.

    GET     …/uploads                  uploads of this user that are not finished
    POST    …/uploads/PATH             begin one: 201, its address in Location
    HEAD    …/uploads/PATH?upload=ID   how far it is
    PATCH   …/uploads/PATH?upload=ID   a piece; with Repr-Digest the last one
    DELETE  …/uploads/PATH?upload=ID   cancel it
    GET     …/digests/PATH             the SHA-256 of a file: 200, or 202 with how far it is

Who may save files may upload, who may read them may have them hashed: the resource is ``contents``. The path stands in
every address, so that whoever follows the requests knows which file each one is about.
"""

import asyncio
import contextlib
import errno
import json
import os
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import ensure_async, url_path_join
from tornado import web

from jupyter_hpcsec.access.contents import HpcsecContentsManager
from jupyter_hpcsec.access.etag import etag_of
from jupyter_hpcsec.access.guarded import NOT_PERMITTED
from jupyter_hpcsec.audit.events import Told
from jupyter_hpcsec.errors import Malformed, Refused
from jupyter_hpcsec.server.transfers import tus
from jupyter_hpcsec.server.transfers.desk import Desk, Writer
from jupyter_hpcsec.server.transfers.digests import TooMany
from jupyter_hpcsec.server.transfers.kept import Kept, Notes
from jupyter_hpcsec.server.transfers.uploads import Failed, Uploads, Why

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

RESOURCE = "contents"
POLL_S = 2.0
"""How long an answer about a digest waits for it."""
STATUSES = {
    Why.EXISTS: 412, Why.CHANGED: 412, Why.GONE: 404, Why.FULL: 507, Why.MANY: 429, Why.DIFFERS: 422,
    Why.NOT_A_FILE: 409,
}  # fmt: skip


class TransferHandler(APIHandler):
    """What both resources share: who asks, what a path means, what an error says."""

    auth_resource = RESOURCE

    def initialize(self, desk: Desk) -> None:
        """``desk`` holds what outlives a request."""
        self.desk = desk

    @property
    def manager(self) -> HpcsecContentsManager:
        """The session's contents manager."""
        return cast("HpcsecContentsManager", self.contents_manager)  # mounted beside no other

    def own_path(self, path: str) -> str:
        """Where a path of the API is on disk, by its spelling; 404 outside of the root, 400 for hidden names."""
        own = self.manager._lexical(path)
        shown = os.path.relpath(own, self.manager.root_dir)
        if shown == ".":
            raise web.HTTPError(400, "The address names no file.")
        if not self.manager.allow_hidden and any(part.startswith(".") for part in shown.split(os.sep)):
            raise web.HTTPError(400, f"{path.strip('/')} is hidden: such files are not carried here.")
        return own

    @contextlib.contextmanager
    def answers(self, own: str = "") -> Iterator[None]:
        """Turn errors into statuses, each with its sentence."""
        try:
            yield
        except Refused as error:
            self.manager.gate.on_refused(own, error)
            raise web.HTTPError(403, error.reason) from error
        except Malformed as error:
            raise web.HTTPError(400, error.reason) from error
        except Failed as error:
            if error.etag:
                self.keep_header("ETag", error.etag)
            raise web.HTTPError(STATUSES[error.why], error.reason) from error
        except (FileNotFoundError, NotADirectoryError) as error:
            raise web.HTTPError(404, "There is no such file or directory.") from error
        except OSError as error:
            if error.errno in NOT_PERMITTED:
                raise web.HTTPError(403, f"Permission denied: {os.path.relpath(own, self.manager.root_dir)}") from error
            if error.errno == errno.ENAMETOOLONG:
                raise web.HTTPError(400, "The name is too long.") from error
            raise

    def keep_header(self, name: str, value: str) -> None:
        """A header that an error's answer bears, too."""
        self.set_header(name, value)
        self._kept = {**getattr(self, "_kept", {}), name: value}

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """As of every API, with the headers that were kept."""
        for name, value in getattr(self, "_kept", {}).items():
            self.set_header(name, value)
        super().write_error(status_code, **kwargs)


@web.stream_request_body
class UploadHandler(TransferHandler):
    """``uploads`` and ``uploads/PATH``."""

    _writer: Writer | None = None
    _piece: tus.Piece
    _is_whole = False
    _is_gone = False

    def set_default_headers(self) -> None:
        """Every answer says what is spoken, as tus wants it of OPTIONS, and is nobody's to keep."""
        super().set_default_headers()
        self.set_header("Tus-Resumable", tus.VERSION)
        self.set_header("Tus-Version", tus.VERSION)
        self.set_header("Tus-Extension", tus.EXTENSIONS)
        self.set_header("Tus-Max-Size", str(tus.SIZE_LIMIT))
        self.set_header("Tus-Checksum-Algorithm", tus.CHECKSUMS)
        self.set_header("Cache-Control", "no-store")

    async def prepare(self) -> None:  # type: ignore[override]
        """Refuse before the first byte of a body: 1 who it is 2 whether they may 3 what they want."""
        await super().prepare()
        if self._finished or self.request.method == "OPTIONS":
            return
        action = "read" if self.request.method in {"GET", "HEAD"} else "write"
        if self.current_user is None or not await ensure_async(
            self.authorizer.is_authorized(self, self.current_user, action, RESOURCE)
        ):
            raise web.HTTPError(403)
        if self.request.method == "GET":
            return
        if self.request.headers.get("Tus-Resumable") != tus.VERSION:
            raise web.HTTPError(412, f"Uploads speak tus {tus.VERSION}.")
        if self.request.method == "PATCH":
            await self._begin_piece()
        elif self.request.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.request.headers:
            raise web.HTTPError(413, "This request has no body.")

    async def data_received(self, chunk: bytes) -> None:
        """Some of a piece; the next is read when this is on its way to the disk."""
        if self._writer is not None:
            await self._writer.take(chunk)

    def on_connection_close(self) -> None:
        """The sender is gone: what came counts as far as it can be known to be right."""
        super().on_connection_close()
        self._is_gone = True
        if self._writer is not None and not self._is_whole:
            self._writer.abandon()

    def _say(self, kept: Kept) -> None:
        self.set_header("Upload-Offset", str(kept.offset))
        self.set_header("Upload-Expires", tus.http_date(self.desk.uploads.expires(kept)))

    def _asked(self, path: str | None) -> tuple[str, str]:
        """(upload, path on disk)."""
        with self.answers():
            return tus.upload_id(self.get_query_argument("upload", "")), self.own_path(path or "")

    async def _begin_piece(self) -> None:
        headers, path = self.request.headers, self.path_kwargs.get("path")
        upload, own = self._asked(path)
        with self.answers(own):
            if headers.get("Content-Type") != tus.CONTENT_TYPE:
                raise web.HTTPError(415, f"A piece is {tus.CONTENT_TYPE}.")
            if len(headers.get_list("Content-Length")) != 1 or "Transfer-Encoding" in headers:
                raise web.HTTPError(411, "A piece says how long it is.")
            size = tus.number("Content-Length", headers["Content-Length"])
            if size > tus.PIECE_LIMIT:
                raise web.HTTPError(413, f"A piece has at most {tus.PIECE_LIMIT} bytes.")
            piece = self._piece = tus.Piece(
                upload, tus.number("Upload-Offset", headers.get("Upload-Offset")), size,
                tus.checksum(headers.get("Upload-Checksum")), tus.repr_digest(headers.get("Repr-Digest")),
            )  # fmt: skip
            writer = self.desk.writer(upload, self._cut)
            if writer is None:
                raise web.HTTPError(423, "Another request is writing to this upload.")
            try:
                kept = await asyncio.to_thread(self.desk.uploads.find, upload, own, _shown(path))
                self._check(piece, kept)
                writer.begin(kept, piece)
            except BaseException:
                writer.release()
                raise
        self._writer = writer
        if self._is_gone:  # while the upload was looked up
            writer.abandon()
        elif self.request.connection is not None:
            self.request.connection.set_body_timeout(self.desk.time_for(size))  # type: ignore[attr-defined]

    def _check(self, piece: tus.Piece, kept: Kept) -> None:
        if piece.offset != kept.offset:
            self.keep_header("Upload-Offset", str(kept.offset))
            raise web.HTTPError(409, f"The upload is at {kept.offset}, not at {piece.offset}.")
        if piece.offset + piece.size > kept.length:
            raise web.HTTPError(413, "The piece reaches beyond the end of the file.")
        if piece.whole is not None and piece.offset + piece.size != kept.length:
            raise Malformed("Only the last piece says what the whole is.")

    async def _come_back(self, path: str | None) -> Kept:
        """An upload as it is once nobody sends to it any more: who may ask for it cuts off who still does."""
        upload, own = self._asked(path)
        with self.answers(own):
            await asyncio.to_thread(self.desk.uploads.find, upload, own, _shown(path))
            await self.desk.cut(upload)
            return await asyncio.to_thread(self.desk.uploads.find, upload, own, _shown(path))

    def _cut(self) -> None:
        """Have the sender's connection end, for one who comes back on another."""
        if self.request.connection is not None:
            self.request.connection.stream.close()  # type: ignore[attr-defined]

    @web.authenticated
    async def get(self, path: str | None = None) -> None:
        """The uploads that are not finished: ``[{path, upload, offset, length, expires}]``."""
        if path is not None:
            raise web.HTTPError(405)
        found = await asyncio.to_thread(lambda: list(self.desk.uploads.notes.all()))
        await self.finish(json.dumps([line for kept in found if (line := self._line(kept)) is not None]))

    def _line(self, kept: Kept) -> dict[str, Any] | None:
        real = os.path.join(os.fsdecode(kept.directory), os.fsdecode(kept.name))
        shown = os.path.relpath(real, os.path.realpath(self.manager.root_dir))
        if shown.startswith(".."):
            return None
        text = os.fsencode(shown).decode("utf-8", "replace")
        at = {"upload": kept.id, "offset": kept.offset, "length": kept.length}
        return {"path": text, "expires": self.desk.uploads.expires(kept), **at}

    @web.authenticated
    async def post(self, path: str | None = None) -> None:
        """Begin one: 201. ``If-Match`` names the file that may be replaced; without it there must be none."""
        headers = self.request.headers
        with self.answers():
            own = self.own_path(path or "")
        with self.answers(own):
            length = tus.number("Upload-Length", headers.get("Upload-Length"))
            replaces = headers.get("If-Match", "")
            kept = await asyncio.to_thread(self.desk.uploads.create, own, _shown(path), length, replaces)
        self.set_status(201)
        self.set_header("Location", f"{self.request.path}?upload={quote(kept.id)}")
        self._say(kept)
        await self.finish()

    @web.authenticated
    async def head(self, path: str | None = None) -> None:
        """How far it is: 200. Who writes to it now is cut off: whoever asks has come back for it."""
        kept = await self._come_back(path)
        self._say(kept)
        self.set_header("Upload-Length", str(kept.length))
        await self.finish()

    @web.authenticated
    async def patch(self, path: str | None = None) -> None:
        """The piece has been read: 204, and with ``Repr-Digest`` in the answer where the file has its name now."""
        self._is_whole = True
        writer = self._writer
        if writer is None:
            raise AssertionError("BUG: a piece without a writer")
        own = self.own_path(path or "")
        try:
            with self.answers(own):
                kept = await writer.finish()
                if kept is None:
                    raise web.HTTPError(tus.CHECKSUM_MISMATCH, "The piece is not what its checksum says.")
                self._say(kept)
                if self._piece.whole is not None:
                    facts = await self.desk.complete(kept, self._piece.whole)
                    self.set_header("Repr-Digest", tus.show_repr_digest(self._piece.whole))
                    self.set_header("ETag", etag_of(facts))
        finally:
            writer.release()
        self.set_status(204)
        await self.finish()

    @web.authenticated
    async def delete(self, path: str | None = None) -> None:
        """Cancel it: 204, and nothing is left."""
        kept = await self._come_back(path)
        writer = self.desk.writer(kept.id, lambda: None)
        if writer is None:
            raise web.HTTPError(423, "Another request is writing to this upload.")
        try:
            await asyncio.to_thread(self.desk.uploads.drop, kept)
        finally:
            writer.release()
        self.set_status(204)
        await self.finish()


class DigestHandler(TransferHandler):
    """``digests/PATH``."""

    @web.authenticated
    @authorized("read", RESOURCE)  # type: ignore[untyped-decorator]
    async def get(self, path: str = "") -> None:
        """200 with ``sha256``, ``size``, ``etag``; 202 with ``done`` and ``size`` while it is made: ask again."""
        own, shown = self.own_path(path), path.strip("/")
        with self.answers(own):
            descriptor = await asyncio.to_thread(self.manager.gate.open, own, os.O_RDONLY, shown=shown)
            try:
                facts = os.fstat(descriptor)
                if not stat.S_ISREG(facts.st_mode):
                    raise Failed(Why.NOT_A_FILE, f"{shown} is not a file.")
                found = self.desk.digests.known(facts)
                if found is None:
                    job = self.desk.digests.begin(descriptor)
                    done, _ = await asyncio.wait({job.task} if job.task else set(), timeout=POLL_S)
                    found = next(iter(done)).result() if done else None
                    if found is None:
                        self.set_status(202)
                        await self.finish(json.dumps({"done": job.done, "size": job.size}))
                        return
            except TooMany as error:
                raise web.HTTPError(429, "Too many files are being read: try again later.") from error
            finally:
                os.close(descriptor)
        self.desk.hashed(own, facts.st_size, found)
        self.set_header("ETag", etag_of(facts))
        self.set_header("Repr-Digest", tus.show_repr_digest(found))
        at = {"sha256": found.hex(), "size": facts.st_size, "etag": etag_of(facts)}
        await self.finish(json.dumps(at))


def _shown(path: str | None) -> str:
    """How the user calls a file."""
    return (path or "").strip("/")


def add_transfers(app: "ServerApp", tell: Callable[[Told], None]) -> None:
    """Mount the handlers, where files are read and written by the session's rules."""
    manager = app.contents_manager
    if not isinstance(manager, HpcsecContentsManager):
        return
    notes = Notes(_place_for_notes(app.data_dir))
    desk = Desk(Uploads(lambda: manager.gate, notes), tell)
    api = url_path_join(app.web_app.settings["base_url"], "hpcsec", "api", "transfers")
    handlers = [
        (f"{api}/uploads(?P<path>/.*)?", UploadHandler, {"desk": desk}),
        (f"{api}/digests(?P<path>/.*)", DigestHandler, {"desk": desk}),
    ]
    app.web_app.add_handlers(".*$", handlers)  # type: ignore[no-untyped-call]
    threading.Thread(target=desk.uploads.sweep, name="hpcsec-sweep", daemon=True).start()


def _place_for_notes(data_directory: str) -> Path:
    """In the user's data directory, so that they outlive the session; where that is closed, as long as the session."""
    wanted = Path(data_directory) / "hpcsec-uploads"
    try:
        wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.gettempdir()) / "hpcsec-uploads"
    return wanted if os.access(wanted, os.W_OK) else Path(tempfile.gettempdir()) / "hpcsec-uploads"
