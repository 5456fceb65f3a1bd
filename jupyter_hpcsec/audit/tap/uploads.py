"""What requests to the server's resumable uploads meant (tus 1.0.0 at ``/hpcsec/api/transfers/uploads``). Pure."""

import base64
import re
from typing import Any

from jupyter_hpcsec.audit.events import Event, Object
from jupyter_hpcsec.audit.kinds import transfers as t
from jupyter_hpcsec.audit.tap.head import Head
from jupyter_hpcsec.audit.tap.paths import Place

_NUMBER = re.compile(rb"[0-9]{1,15}")
_DIGEST = re.compile(rb"sha-256=:([A-Za-z0-9+/]{43}=):")
_NEW = re.compile(rb".*\?upload=([0-9a-f]{32})")


def meant(request: Head, answer: Head | None, place: Place, sent: int, digest: str, /, **common: Any) -> list[Event]:
    """Events of one request: ``sent`` bytes of its body passed, whose SHA-256 is ``digest`` where that is wanted.

    That a whole file got its name is told by the server's answer. The SHA-256 beside it is the one that the request
    named, and only if the answer names the same.
    """
    upload, path = place.asks("upload"), place.path
    match request.first:
        case "POST":
            made = _NEW.fullmatch(answer.get(b"location")) if answer is not None else None
            upload = made[1].decode() if made else ""
            size = _number(request, b"upload-length")
            return [t.UploadBegun(upload=upload, object=Object.of_path(path, size), **common)]
        case "DELETE":
            return [t.UploadCancelled(upload=upload, object=Object.of_path(path), **common)]
        case "PATCH":
            first = _number(request, b"upload-offset")
            what = Object.of_path(path, sent, digest)
            found: list[Event] = [t.UploadPiece(upload=upload, first=first, object=what, **common)]
            if answer is not None and answer.first == "204" and (said := _DIGEST.fullmatch(answer.get(b"repr-digest"))):
                same = request.get(b"repr-digest") == said[0]
                whole = base64.b64decode(said[1]).hex() if same else ""
                size = _number(answer, b"upload-offset")
                found.append(t.UploadCompleted(upload=upload, object=Object.of_path(path, size, whole), **common))
            return found
    return []


def _number(head: Head, name: bytes) -> int:
    value = head.get(name)
    return int(value) if _NUMBER.fullmatch(value) else 0
