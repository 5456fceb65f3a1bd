"""One request and its answer, as far as they have passed, and what they meant. Pure."""

import hashlib
import json
import re
import zlib
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from jupyter_hpcsec.audit.events import Decision, Event, Object
from jupyter_hpcsec.audit.kinds import kernels as k
from jupyter_hpcsec.audit.kinds import requests as r
from jupyter_hpcsec.audit.tap import uploads
from jupyter_hpcsec.audit.tap.head import Head
from jupyter_hpcsec.audit.tap.paths import Area, Place, place_of, shown

CAPTURE_LIMIT = 65_536
"""Bytes of a body that are kept to be read when it is whole; only of short ones of the server's API."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_RANGE = re.compile(rb"bytes ([0-9]{1,15})-[0-9]{1,15}/([0-9]{1,15})")
_TAKEN = frozenset({Area.CONTENTS, Area.FILES, Area.NBCONVERT, Area.DIGEST, Area.OTHER})
"""What a GET of these gives may be somebody's data."""


@dataclass(slots=True)
class Capture:
    """The beginning of a body, up to ``CAPTURE_LIMIT``."""

    data: bytearray = field(default_factory=bytearray)

    def add(self, view: memoryview) -> None:
        """The next bytes."""
        self.data += view[: CAPTURE_LIMIT - len(self.data)]

    def read(self, coding: bytes) -> dict[str, Any]:
        """The JSON object that was captured; empty where it is none or was longer."""
        data = bytes(self.data)
        try:
            if coding == b"gzip":
                data = zlib.decompressobj(31).decompress(data, CAPTURE_LIMIT)
            found = json.loads(data)
        except (ValueError, zlib.error, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


class Exchange:
    """A request on its way. Times are monotonic seconds."""

    __slots__ = (
        "answer",
        "body",
        "digest",
        "head",
        "id",
        "is_sent",
        "place",
        "received",
        "reply",
        "sent",
        "source",
        "started",
        "status",
    )

    def __init__(
        self, head: Head, *, base: tuple[str, ...], number: str, source: str, now: float, hashes: bool
    ) -> None:
        self.head, self.id, self.source, self.started = head, number, source, now
        self.place: Place = place_of(head.target, base)
        self.status = self.sent = self.received = 0
        self.is_sent = False
        self.answer: Head | None = None
        area, method = self.place.area, head.first
        self.body = Capture() if area is Area.CONTENTS and method == "PATCH" else None
        self.reply = Capture() if area in {Area.SESSIONS, Area.SESSION} and method in {"POST", "PATCH"} else None
        is_file = area in {Area.CONTENTS, Area.FILES, Area.NBCONVERT} and method in {"GET", "PUT"}
        is_file = is_file or (area is Area.UPLOAD and method == "PATCH")
        self.digest = hashlib.sha256() if hashes and is_file else None

    @property
    def must_be_kept(self) -> bool:
        """Whether it may only be passed on once it is on record: it changes something, or carries data away."""
        if self.head.first not in SAFE:
            return True
        return self.head.first == "GET" and self.place.area in _TAKEN and not self.is_look

    @property
    def is_look(self) -> bool:
        """Whether the contents API is asked about a file and not for it."""
        return self.place.area is Area.CONTENTS and self.place.asks("content") == "0"

    @property
    def target(self) -> Object:
        """The path as decoded, for people."""
        return Object.of_path(shown(self.head.target))

    def took(self, view: memoryview) -> None:
        """Some of the request's body passed."""
        self.sent += len(view)
        if self.body is not None:
            self.body.add(view)
        if self.digest is not None and self.head.first != "GET":
            self.digest.update(view)

    def gave(self, view: memoryview) -> None:
        """Some of the answer's body passed."""
        self.received += len(view)
        if self.reply is not None:
            self.reply.add(view)
        if self.digest is not None and self.head.first == "GET":
            self.digest.update(view)

    def begun(self) -> Event:
        """Before it is passed on."""
        return r.HttpBegun(request=self.id, method=self.head.first, object=self.target, source=self.source)

    def over(self, now: float) -> list[Event]:
        """What happened, once it is over."""
        done = r.HttpRequest(
            request=self.id,
            method=self.head.first,
            object=self.target,
            source=self.source,
            status=self.status,
            bytes_from_browser=self.sent,
            bytes_to_browser=self.received,
            duration_ms=round(1000 * (now - self.started)),
        )
        if self.is_known and self.place.area is Area.UPLOAD:
            answer = self.answer
            return [done, *uploads.meant(self.head, answer, self.place, self.sent, self._hexdigest(), **self._common())]
        meant = self._meant() if self.is_known else None
        return [done] if meant is None else [done, meant]

    def _hexdigest(self) -> str:
        return self.digest.hexdigest() if self.digest is not None else ""

    @property
    def is_known(self) -> bool:
        """Whether the answer says that it was done or refused, or none came, so that it may have been done."""
        return self.status // 100 == 2 or self.status in {0, 304, 401, 403}

    @property
    def decision(self) -> Decision:
        """What the session's server said to it."""
        return "" if not self.status else "refused" if self.status in {401, 403} else "allowed"

    def _meant(self) -> Event | None:
        method, area = self.head.first, self.place.area
        if area in {Area.CONTENTS, Area.CHECKPOINTS, Area.FILES, Area.NBCONVERT}:
            return self._of_file(area, method)
        return self._of_kernel(area, method)

    def _of_file(self, area: Area, method: str) -> Event | None:
        digest = self._hexdigest()
        made: type[Event] | None = None
        path, size, more = self.place.path, self.sent, dict[str, Any]()
        match area, method:
            case Area.CHECKPOINTS, "POST":
                if self.status == HTTPStatus.NO_CONTENT:
                    made, more = r.FileWritten, {"reason": "restored from a checkpoint"}
            case Area.CONTENTS, "GET":
                made, size = None if self.is_look else r.FileRead, self.received
            case ((Area.FILES | Area.NBCONVERT), "GET"):
                made, size, more = r.FileDownloaded, self.received, self._part()
            case Area.CONTENTS, "PUT":
                made = r.FileWritten
            case Area.CONTENTS, "POST":
                made, path = r.FileWritten, self._made() or path
            case Area.CONTENTS, "PATCH":
                to = self.body.read(b"").get("path", "") if self.body is not None else ""
                made, size, more = r.FileRenamed, 0, {"to": to if isinstance(to, str) else ""}
            case Area.CONTENTS, "DELETE":
                made = r.FileDeleted
        return made(object=Object.of_path(path, size, digest), **self._common(), **more) if made else None

    def _part(self) -> dict[str, Any]:
        """Which bytes of how many went, where it was a part (RFC 9110, 14.4)."""
        said = self.answer.get(b"content-range") if self.answer is not None and self.status == 206 else b""
        found = _RANGE.fullmatch(said)
        return {"first": int(found[1]), "whole": int(found[2])} if found else {}

    def _common(self) -> dict[str, Any]:
        return {"request": self.id, "source": self.source, "decision": self.decision}

    def _made(self) -> bytes:
        """Where the server says it put something."""
        _, found, path = self._location().partition("/api/contents/")
        return shown(path) if found else b""

    def _location(self) -> str:
        return self.answer.get(b"location").decode("latin-1") if self.answer is not None else ""

    def _of_kernel(self, area: Area, method: str) -> Event | None:
        made: Any = None
        kernel, more = self.place.name, dict[str, Any]()
        match area, method:
            case Area.KERNELS, "POST":
                made, kernel = k.KernelStarted, self._location().rpartition("/")[2]
            case (Area.SESSIONS, "POST") | (Area.SESSION, "PATCH"):
                made, (kernel, path) = k.KernelStarted, self._session()
                more = {"object": Object.of_path(path)} if path else {}
            case Area.SESSION, "DELETE":
                made, kernel, more = k.KernelShutdown, "", {"reason": f"that of the server's session {self.place.name}"}
            case Area.KERNEL, "DELETE":
                made = k.KernelShutdown
            case Area.INTERRUPT, "POST":
                made = k.KernelInterrupted
            case Area.RESTART, "POST":
                made = k.KernelRestarted
        return made(kernel=kernel, **self._common(), **more) if made else None

    def _session(self) -> tuple[str, bytes]:
        """Kernel and notebook of the session that the server says it made."""
        coding = self.answer.get(b"content-encoding") if self.answer is not None else b""
        model = self.reply.read(coding) if self.reply is not None else {}
        kernel, path = model.get("kernel"), model.get("path")
        name = kernel.get("id") if isinstance(kernel, dict) else ""
        return (
            name if isinstance(name, str) else "",
            path.encode("utf-8", "surrogatepass") if isinstance(path, str) else b"",
        )
