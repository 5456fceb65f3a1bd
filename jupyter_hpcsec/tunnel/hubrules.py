"""Which Hub API requests a session may send through its tunnel. Pure.

The list is what a JupyterHub 6.1 single-user server sends, read in ``jupyterhub/singleuser/extension.py`` and
``jupyterhub/services/auth.py``: the version check, the identity behind a visitor's token, the code-for-token step of
the login, and its own activity. Everything else that a token may do, a browser does by the public URL.

A target is compared as it stands, byte by byte, with the few spellings that are allowed; it is never decoded or
normalised. What goes to the hub is our own spelling, so that the hub can't read another path into it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from jupyter_hpcsec.errors import Malformed, Refused

BODY_LIMIT = 16 << 10
"""Bytes of a request's body; real ones have below 1 KiB."""

_FORM = ("application/x-www-form-urlencoded",)
_JSON = ("application/json", "application/json; charset=utf-8")
_HUB_SAFE = "@~"
"""``jupyterhub.utils.url_escape_path`` spells a user's name so ..."""
_YARL_SAFE = "@~:!$&'()*,;="
"""... and yarl, below the single-user server's HTTP client, undoes what RFC 3986 (``pchar``) does not need."""
_BASE_PATH = re.compile(r"(/[A-Za-z0-9._~@-]+)*/hub/api")


@dataclass(frozen=True)
class Route:
    """One request that is let through: ``suffix`` follows the hub's API URL; no ``content_types`` means no body."""

    method: str
    suffix: str
    content_types: tuple[str, ...] = ()


def check_base_path(base_path: str) -> str:
    """The API's path as the node sees it, such as ``/jupyter/hub/api``; ``Malformed`` in any other form."""
    if not _BASE_PATH.fullmatch(base_path) or any(part in (".", "..") for part in base_path.split("/")):
        raise Malformed(f"The Hub API's path has to look like /hub/api or /prefix/hub/api, not {base_path!r}.")
    return base_path


def allow(method: str, target: str, *, user: str, base_path: str = "/hub/api") -> Route:
    """The one route that this request line names, or ``Refused("hub-api.…")``.

    ``target`` is the request target as it came (RFC 9112, section 3.2), ``user`` the hub's name of the session's user.
    """
    # 1. A name that would change the path's meaning can't be spelled canonically at all.
    if user in ("", ".", "..") or "/" in user:
        raise Refused("hub-api.user-name", "This user's name can't stand in a path of the Hub API.")
    # 2. Equal to one of the allowed spellings, or not.
    routes = _routes(user, base_path)
    known = routes.get(target)
    if known is not None and known.method == method:
        return known
    # 3. No. The rest only says why.
    raise _refusal(method, target, known, base_path)


def _routes(user: str, base_path: str) -> dict[str, Route]:
    activity = Route("POST", f"/users/{quote(user, safe=_HUB_SAFE)}/activity", _JSON)
    return {
        base_path: Route("GET", ""),
        f"{base_path}/": Route("GET", ""),
        f"{base_path}/user": Route("GET", "/user"),
        f"{base_path}/oauth2/token": Route("POST", "/oauth2/token", _FORM),
        f"{base_path}{activity.suffix}": activity,
        f"{base_path}/users/{quote(user, safe=_YARL_SAFE)}/activity": activity,
    }


def _refusal(method: str, target: str, known: Route | None, base_path: str) -> Refused:
    shown = repr(target[:120])
    if not target.startswith("/"):
        return Refused("hub-api.target", f"The request target {shown} is not a path.")
    if known is not None or method not in ("GET", "POST"):
        return Refused("hub-api.method", f"{method[:20]!r} is not let through to {shown}.")
    if not re.fullmatch(r"[!-~]+", target) or re.search(r"//|/\.\.?(/|\?|\Z)|[%\\;#]", target):
        return Refused("hub-api.form", f"{shown} holds an encoding or characters that no path let through has.")
    if "?" in target:
        return Refused("hub-api.query", f"No request to the Hub API may carry a query, as {shown} does.")
    if target.startswith(f"{base_path}/users/"):
        return Refused("hub-api.user", f"{shown} is not the session's own activity.")
    return Refused("hub-api.path", f"{shown} is not among the Hub API paths that a session needs.")


def check_body(route: Route, content_type: str, body: bytes, *, server: str) -> None:
    """``Refused("hub-api.body")`` unless the body is what ``route`` takes; ``server`` is the session's server name."""
    # 1. Size first.
    if len(body) > BODY_LIMIT:
        raise Refused("hub-api.body", f"The body is longer than {BODY_LIMIT} bytes.")
    # 2. A body where one belongs, of the type that belongs there.
    if not route.content_types:
        if body:
            raise Refused("hub-api.body", f"{route.method} has no body here.")
        return
    if content_type.lower() not in route.content_types:
        raise Refused("hub-api.body", f"The body's type has to be {route.content_types[0]}.")
    # 3. A session reports its own server's activity: another's would keep that one from being culled.
    if route.content_types is _JSON:
        _check_activity(body, server)


def _check_activity(body: bytes, server: str) -> None:
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_one_of_each)
    except (ValueError, RecursionError) as exc:
        raise Refused("hub-api.body", "The activity is no strict JSON.") from exc
    servers = value.get("servers", {}) if isinstance(value, Mapping) else None
    if (
        not isinstance(servers, Mapping)
        or not set(value) <= {"servers", "last_activity"}
        or not isinstance(value.get("last_activity", ""), str)
        or not all(_is_activity(entry) for entry in servers.values())
    ):
        raise Refused("hub-api.body", "The activity has another form than a single-user server's.")
    if not set(servers) <= {server}:
        raise Refused("hub-api.server", "A session may report no other server's activity.")


def _is_activity(entry: Any) -> bool:
    return isinstance(entry, Mapping) and set(entry) == {"last_activity"} and isinstance(entry["last_activity"], str)


def _one_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value
