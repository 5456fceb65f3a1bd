"""``/files/``: what a browser downloads or shows, past the contents manager's ``get`` but not past the policy.

One descriptor, opened where the path was decided on, gives size, times and bytes; nothing is looked up by name again.
"""

import os
import stat
from collections.abc import Iterator
from typing import Any

from jupyter_server.base import handlers
from tornado.web import HTTPError

from jupyter_hpcsec.access.etag import etag_of
from jupyter_hpcsec.access.prefixes import is_below
from jupyter_hpcsec.errors import Refused

CHUNK = 64 * 1024
"""Bytes read and sent at a time, as Tornado does."""


class HpcsecFilesHandler(handlers.AuthenticatedFileHandler):
    """Jupyter's handler behind the contents manager's gate."""

    _descriptor = -1

    def validate_absolute_path(self, root: str, absolute_path: str) -> str:
        """Decide and open; 403 with the rule, 404 where nothing is or where the name is hidden.

        In place of Tornado's own check, whose newer versions refuse every symbolic link out of the root.
        """
        if not is_below(absolute_path, os.path.abspath(root)):
            raise HTTPError(403, "not below the root directory")
        shown = os.path.relpath(absolute_path, root)
        manager: Any = self.contents_manager
        try:
            if not manager.allow_hidden and _is_hidden(absolute_path, root):
                raise HTTPError(404)
            self._descriptor = manager.gate.open(absolute_path, os.O_RDONLY, shown=shown)
        except Refused as error:
            manager.gate.on_refused(absolute_path, error)
            raise HTTPError(403, error.reason) from error
        except PermissionError as error:
            raise HTTPError(403, f"Permission denied: {shown}") from error
        except OSError as error:  # not there, a socket, a loop of links
            raise HTTPError(404) from error
        self._stat_result = os.fstat(self._descriptor)
        if not stat.S_ISREG(self._stat_result.st_mode):
            raise HTTPError(403, f"{shown} is not a file")
        return absolute_path

    def compute_etag(self) -> str | None:
        """A strong entity tag, by which a download that was cut goes on with the same bytes or begins anew."""
        return etag_of(self._stat_result) if self._descriptor >= 0 else None

    def set_headers(self) -> None:
        """As Jupyter's. A ``Range`` counts only if the file is still the one of ``If-Range`` (RFC 9110, 13.1.5).

        A date there never matches: it has seconds only, and is no strong validator. Nothing is compressed on the way:
        a part of a compressed answer is a part of other bytes, under the same entity tag.
        """
        super().set_headers()
        self._transforms = []
        wanted = self.request.headers.get("If-Range")
        if wanted is not None and wanted != self.compute_etag():
            self.request.headers.pop("Range", None)

    def on_finish(self) -> None:
        """The answer is sent, or its reader is gone."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        super().on_finish()

    def get_content(  # type: ignore[override]
        self, abspath: str, start: int | None = None, end: int | None = None
    ) -> Iterator[bytes]:
        """The bytes from ``start`` up to ``end`` (excluded) of the file that was opened."""
        at, stop = start or 0, self._stat_result.st_size if end is None else end
        while at < stop and (chunk := os.pread(self._descriptor, min(CHUNK, stop - at), at)):
            at += len(chunk)
            yield chunk

    @classmethod
    def get_content_version(cls, abspath: str) -> Any:
        """Tornado's hash of a file's content by its name; no URL of ours has one."""
        raise HTTPError(404)


def _is_hidden(path: str, root: str) -> bool:
    """Jupyter's own answer, under the name that it has there."""
    return bool(handlers.is_hidden(path, root))  # type: ignore[attr-defined]
