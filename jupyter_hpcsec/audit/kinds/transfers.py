"""Kinds about large files that pass in pieces: what the gateway saw, and what the node says became of them."""

from jupyter_hpcsec.audit.events import Count, Event, Name, Told


class _Upload(Event, frozen=True, kw_only=True):
    """A request about the upload ``upload``; ``decision`` is what the session's server answered."""

    request: Name = ""
    upload: Name = ""


class UploadBegun(_Upload, frozen=True, kw_only=True, tag="upload.begun"):
    """An upload in pieces began; ``object`` has the size of the whole file."""


class UploadPiece(_Upload, frozen=True, kw_only=True, tag="upload.piece"):
    """Bytes of an upload passed, from the file's byte ``first`` on; ``object`` has their number, and their SHA-256
    where files are fingerprinted."""

    first: Count = 0


class UploadCompleted(_Upload, frozen=True, kw_only=True, tag="upload.completed"):
    """The file has its name; ``object`` has its size, and the SHA-256 that browser and server both named."""


class UploadCancelled(_Upload, frozen=True, kw_only=True, tag="upload.cancelled"):
    """An upload was given up; nothing of it is left."""


class NodeUploadCompleted(Told, frozen=True, kw_only=True, tag="node.upload-completed"):
    """The server gave a whole upload its name; ``object`` is its real path, its size and the SHA-256 on disk."""

    upload: Name = ""


class NodeUploadFailed(Told, frozen=True, kw_only=True, tag="node.upload-failed"):
    """A whole upload did not get its name; ``object`` has the SHA-256 that the browser named."""

    upload: Name = ""


class NodeFileHashed(Told, frozen=True, kw_only=True, tag="node.file-hashed"):
    """The SHA-256 of a file was given out, as at the end of a verified download."""
