"""The admin API's calls as they stand on the wire: one JSON object in, one JSON value out. Pure.

A call is ``POST /v1/NAME``. Its body is checked against one closed type, unknown and repeated keys included.
Sentences about what is wrong name the place and never the value: a launch specification holds secrets.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable
from jupyter_hpcsec.tunnel import projectwire
from jupyter_hpcsec.tunnel.session import Progress
from jupyter_hpcsec.tunnel.sessionpage import PAGE_LIMIT, Order
from jupyter_hpcsec.tunnel.wiretypes import Arguments as _Arguments
from jupyter_hpcsec.tunnel.wiretypes import Call, as_is
from jupyter_hpcsec.tunnel.wiretypes import Directory as _Directory
from jupyter_hpcsec.tunnel.wiretypes import GivenName as _GivenName
from jupyter_hpcsec.tunnel.wiretypes import Name as _Name
from jupyter_hpcsec.tunnel.wiretypes import Sentence as _Sentence
from jupyter_hpcsec.tunnel.wiretypes import SessionId as _SessionId
from jupyter_hpcsec.tunnel.wiretypes import Text as _Text
from jupyter_hpcsec.tunnel.wiretypes import Uid as _Uid
from jupyter_hpcsec.tunnel.wiretypes import UrlPath as _UrlPath
from jupyter_hpcsec.tunnel.wiretypes import Variable as _Variable

BODY_LIMIT = 256 << 10
"""Bytes of a request. A launch specification goes on to the node in one message of twice that, at most."""

WAIT_LIMIT_S = 60
"""Seconds for which one ``wait`` is held open at most."""

LIFETIME_LIMIT_S = 366 * 86400

UNKNOWN_SESSION = "session.unknown"
"""The one rule that is answered with 404."""


@dataclass(frozen=True)
class Registration:
    """What the spawner gives to the job, and where the proxy finds the session.

    ``token`` is secret and single-use; ``ca`` is the DER certificate to pin; ``endpoints`` are ``host:port``;
    ``socket`` is the session's unix socket on the hub host.
    """

    session: str
    token: str
    ca: bytes
    endpoints: list[str]
    socket: Path

    def to_json(self) -> dict[str, Any]:
        """For the wire: the certificate in base64."""
        return {
            "session": self.session,
            "token": self.token,
            "ca": base64.b64encode(self.ca).decode("ascii"),
            "endpoints": list(self.endpoints),
            "socket": str(self.socket),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Registration":
        """From the wire; ``Malformed`` when it is something else."""
        try:
            return cls(
                session=value["session"],
                token=value["token"],
                ca=base64.b64decode(value["ca"], validate=True),
                endpoints=list(value["endpoints"]),
                socket=Path(value["socket"]),
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise Malformed("The gateway's registration can't be read; hub and gateway differ in version.") from exc

    def __repr__(self) -> str:
        return f"Registration(session={self.session!r}, endpoints={self.endpoints!r}, socket={str(self.socket)!r})"


# -- arguments ------------------------------------------------------------------------------------------------------


class _Launch(_Arguments, frozen=True, kw_only=True):
    argv: Annotated[list[_Text], Meta(min_length=1, max_length=256)]
    env: Annotated[dict[_Variable, _Text], Meta(max_length=1024)]
    base_url: _UrlPath


class _Register(_Arguments, frozen=True, kw_only=True):
    user: _GivenName
    server: _Name
    uid: _Uid
    lifetime_s: Annotated[int, Meta(ge=1, le=LIFETIME_LIMIT_S)]
    launch: _Launch
    groups: Annotated[list[_GivenName], Meta(max_length=1024)]
    project: _Name
    home: _Directory


class _BindJob(_Arguments, frozen=True, kw_only=True):
    session: _SessionId
    job_id: _GivenName


class _Show(_Arguments, frozen=True, kw_only=True):
    session: _SessionId


class _Wait(_Arguments, frozen=True, kw_only=True):
    session: _SessionId
    after: Annotated[int, Meta(ge=0, le=2**53)]
    timeout_s: Annotated[float, Meta(ge=0, le=WAIT_LIMIT_S)]


class _Cut(_Arguments, frozen=True, kw_only=True):
    session: _SessionId
    reason: _Sentence


class _End(_Cut, frozen=True, kw_only=True):
    by: Literal["hub", "staff"] = "staff"
    on_behalf: _Name = ""


class _Endings(_Arguments, frozen=True, kw_only=True):
    boot: Annotated[str, Meta(max_length=32, pattern=r"^[0-9a-f]*\Z")]
    after: Annotated[int, Meta(ge=0, le=2**53)]
    timeout_s: Annotated[float, Meta(ge=0, le=WAIT_LIMIT_S)]


class _Rotate(_Arguments, frozen=True, kw_only=True):
    kind: Literal["token", "authority", "all"]


_ConsoleAction = Literal["live", "session", "search", "me", "integrity", "verify", "alerts", "policy", "projects"]
"""The pages of the console whose reading is an event."""


class _AuditRead(_Arguments, frozen=True, kw_only=True):
    action: Literal["query", "tail", "show", "export", "replay", "shred"] | _ConsoleAction
    query: Annotated[str, Meta(max_length=4096, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
    found: Annotated[int, Meta(ge=0, le=2**53)]
    with_values: bool
    leaf: Annotated[int, Meta(ge=0, le=2**53)]
    name: Annotated[str, Meta(max_length=32)]
    on_behalf: _Name = ""


class _HubEvent(_Arguments, frozen=True, kw_only=True):
    event: dict[str, Any]


class _ConsoleEvent(_Arguments, frozen=True, kw_only=True):
    event: dict[str, Any]
    on_behalf: _Name
    note: Annotated[str, Meta(max_length=1000, pattern=r"^[^\x00-\x1f\x7f]*\Z")] = ""


class _AuditRetain(_Arguments, frozen=True, kw_only=True):
    events_days: Annotated[int, Meta(ge=0, le=36_600)]
    values_days: Annotated[int, Meta(ge=0, le=36_600)]


class _SessionPage(_Arguments, frozen=True, kw_only=True):
    user: _Name = ""
    node: _Name = ""
    project: _Name = ""
    order: Order = "newest"
    after: _Name = ""
    after_id: Annotated[str, Meta(pattern=r"^([0-9a-f]{32})?\Z")] = ""
    limit: Annotated[int, Meta(ge=1, le=PAGE_LIMIT)] = 50

    def __post_init__(self) -> None:
        if self.after_id and self.order == "newest" and not (self.after.isascii() and self.after.isdigit()):
            raise ValueError("after is a time, in Unix seconds, where the newest come first")


class _Nothing(_Arguments, frozen=True, kw_only=True):
    pass


def _steps(result: list[Progress]) -> list[dict[str, Any]]:
    return [asdict(step) for step in result]


CALLS: Mapping[str, Call] = {
    "register": Call(_Register, Registration.to_json),
    "bind_job": Call(_BindJob, as_is),
    "show": Call(_Show, as_is),
    "wait": Call(_Wait, _steps),
    "end": Call(_End, as_is),
    "cut": Call(_Cut, as_is),
    "endings": Call(_Endings, as_is),
    "sessions": Call(_Nothing, as_is),
    "session_page": Call(_SessionPage, as_is),
    "status": Call(_Nothing, as_is),
    "rotate": Call(_Rotate, as_is),
    "drop_tokens": Call(_Nothing, as_is),
    "keys": Call(_Nothing, as_is),
    "audit_read": Call(_AuditRead, as_is),
    "hub_event": Call(_HubEvent, as_is),
    "policy": Call(_Nothing, as_is),
    "console_event": Call(_ConsoleEvent, as_is),
    "audit_retain": Call(_AuditRetain, as_is),
    **projectwire.CALLS,
}


# -- parsing --------------------------------------------------------------------------------------------------------


def _one_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def parse_arguments(name: str, body: bytes) -> dict[str, Any]:
    """The arguments of call ``name``, or ``Malformed`` with what is wrong and where."""
    # 1. Size first.
    if len(body) > BODY_LIMIT:
        raise Malformed(f"The request is longer than {BODY_LIMIT} bytes.")
    # 2. One JSON value in UTF-8, no key twice, no NaN, no half of a surrogate pair.
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_one_of_each, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as exc:
        raise Malformed("The request's body is no strict JSON.") from exc
    # 3. Just what the call takes.
    try:
        arguments = msgspec.convert(value, CALLS[name].arguments)
    except msgspec.ValidationError as exc:
        raise Malformed(f"Call {name}: {exc}.") from exc
    return dict(msgspec.to_builtins(arguments))


# -- errors ---------------------------------------------------------------------------------------------------------


def error_to_json(error: HpcsecError) -> tuple[int, dict[str, str]]:
    """HTTP status and body that stand for an error."""
    match error:
        case Refused():
            status = 404 if error.rule == UNKNOWN_SESSION else 403
            return status, {"error": "refused", "rule": error.rule, "reason": error.reason}
        case Malformed():
            return 400, {"error": "malformed", "reason": error.reason}
        case _:
            return 503, {"error": "unavailable", "reason": error.reason}


def error_from_json(value: Any) -> HpcsecError:
    """The error that a body stands for; ``Unavailable`` for a body that is none of ours."""
    match value:
        case {"error": "refused", "rule": str(rule), "reason": str(reason)}:
            return Refused(rule, reason)
        case {"error": "malformed", "reason": str(reason)}:
            return Malformed(reason)
        case {"error": str(), "reason": str(reason)}:
            return Unavailable(reason)
        case _:
            return Unavailable("The gateway's answer can't be read; hub and gateway differ in version.")
