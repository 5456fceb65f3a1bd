"""Kinds about HTTP requests that the gateway saw pass, and what they did to files."""

from jupyter_hpcsec.audit.events import Count, Event, Name, Path


class HttpBegun(Event, frozen=True, kw_only=True, tag="http.begun"):
    """A request that may change something or carry data away is about to be passed on.

    It is on record before the session's server sees it; ``http.request`` of the same ``request`` tells how it went.
    """

    request: Name = ""
    method: Name = ""


class HttpRequest(Event, frozen=True, kw_only=True, tag="http.request"):
    """A request and its answer, or a websocket from its opening to its end (``status`` 101); 0: no answer came.

    ``object`` names the path as decoded, without its query. Bytes are those of the bodies, or of the websocket.
    """

    request: Name = ""
    method: Name = ""
    status: Count = 0
    bytes_from_browser: Count = 0
    bytes_to_browser: Count = 0
    duration_ms: Count = 0


class _File(Event, frozen=True, kw_only=True):
    """What a request did to a file or a directory; ``decision`` is what the session's server answered."""

    request: Name = ""


class FileRead(_File, frozen=True, kw_only=True, tag="file.read"):
    """A file or a directory was read by the contents API; ``object`` has the size of the answer."""


class FileDownloaded(_File, frozen=True, kw_only=True, tag="file.downloaded"):
    """A file left by ``/files/`` or as an export of ``/nbconvert/``; of one that left in part, the bytes from ``first``
    on, and how many the ``whole`` has."""

    first: Count = 0
    whole: Count = 0


class FileWritten(_File, frozen=True, kw_only=True, tag="file.written"):
    """A file or a directory was made or saved; ``object`` has the size of the request."""


class FileRenamed(_File, frozen=True, kw_only=True, tag="file.renamed"):
    """A file was moved ``to`` another name."""

    to: Path = ""


class FileDeleted(_File, frozen=True, kw_only=True, tag="file.deleted"):
    """A file or a directory was deleted."""


class TapRefused(Event, frozen=True, kw_only=True, tag="tap.refused"):
    """What passed could not be followed, or could not be recorded: its stream was cut, or got no further."""
