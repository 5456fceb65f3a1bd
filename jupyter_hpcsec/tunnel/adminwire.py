"""The admin API's calls as they stand on the wire: one JSON object in, one JSON value out. Pure.

A call is ``POST /v1/NAME``. Its body is checked against one closed schema, unknown and repeated keys included.
Sentences about what is wrong name the place and never the value: a launch specification holds secrets.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable
from jupyter_hpcsec.tunnel.session import Progress

BODY_LIMIT = 1 << 20
"""Bytes of a request."""

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


# -- schemas --------------------------------------------------------------------------------------------------------

_NAME = {"type": "string", "maxLength": 255, "pattern": r"^[^\x00-\x1f\x7f]*\Z"}
_TEXT = {"type": "string", "maxLength": 32768, "pattern": r"^[^\x00]*\Z"}
_SESSION = {"type": "string", "pattern": r"^[0-9a-f]{32}\Z"}
_LAUNCH = {
    "type": "object",
    "additionalProperties": False,
    "required": ["argv", "env", "base_url"],
    "properties": {
        "argv": {"type": "array", "minItems": 1, "maxItems": 256, "items": _TEXT},
        "env": {
            "type": "object",
            "maxProperties": 1024,
            "propertyNames": {"pattern": r"^[^\x00=]+\Z", "maxLength": 255},
            "additionalProperties": _TEXT,
        },
        "base_url": _NAME | {"pattern": r"^/[^\x00-\x20\x7f]*\Z", "maxLength": 2048},
    },
}


def _schema(**properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": sorted(properties), "properties": properties}


@dataclass(frozen=True)
class Call:
    """One call: the schema of its arguments, and how its result becomes JSON."""

    schema: Mapping[str, Any]
    encode: Callable[[Any], Any]


def _as_is(result: Any) -> Any:
    return result


def _steps(result: list[Progress]) -> list[dict[str, Any]]:
    return [asdict(step) for step in result]


CALLS: Mapping[str, Call] = {
    "register": Call(
        _schema(
            user=_NAME | {"minLength": 1},
            server=_NAME,
            uid={"type": "integer", "minimum": 0, "maximum": 2**32 - 2},
            lifetime_s={"type": "integer", "minimum": 1, "maximum": LIFETIME_LIMIT_S},
            launch=_LAUNCH,
        ),
        Registration.to_json,
    ),
    "bind_job": Call(_schema(session=_SESSION, job_id=_NAME | {"minLength": 1}), _as_is),
    "show": Call(_schema(session=_SESSION), _as_is),
    "wait": Call(
        _schema(
            session=_SESSION,
            after={"type": "integer", "minimum": 0, "maximum": 2**53},
            timeout_s={"type": "number", "minimum": 0, "maximum": WAIT_LIMIT_S},
        ),
        _steps,
    ),
    "end": Call(_schema(session=_SESSION, reason=_NAME | {"minLength": 1, "maxLength": 400}), _as_is),
    "sessions": Call(_schema(), _as_is),
    "status": Call(_schema(), _as_is),
    "rotate": Call(_schema(kind={"enum": ["token", "authority", "all"]}), _as_is),
    "keys": Call(_schema(), _as_is),
}


def _is_integer(_checker: object, value: object) -> bool:
    """JSON Schema takes ``1.0`` for an integer; a uid is not a float."""
    return isinstance(value, int) and not isinstance(value, bool)


_Validator = extend(
    Draft202012Validator, type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
)
_VALIDATORS = {name: _Validator(call.schema) for name, call in CALLS.items()}


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
    error = next(iter(_VALIDATORS[name].iter_errors(value)), None)
    if error is not None:
        raise Malformed(f"Call {name}: {_what_is_wrong(error.json_path, str(error.validator), error)}.")
    return dict(value)


def _what_is_wrong(place: str, keyword: str, error: Any) -> str:
    if keyword in ("additionalProperties", "required"):
        known, given = set(error.schema["properties"]), set(error.instance)
        unknown, missing = sorted(given - known), sorted(set(error.schema["required"]) - given)
        return f"{place} has unknown keys {unknown}" if unknown else f"{place} lacks {missing}"
    return f"{place} does not keep to `{keyword}`"


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
