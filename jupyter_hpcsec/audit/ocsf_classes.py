"""The classes of OCSF that events of the record are written as, and what each of them requires. Pure."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jupyter_hpcsec import __version__

PRODUCT = {"name": "jupyter_hpcsec", "vendor_name": "jupyter_hpcsec", "version": __version__}
SHA_256 = 3

Leaf = Mapping[str, Any]
Built = dict[str, Any]

_HOSTNAME = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
"""What OCSF takes for one; a node that is called otherwise is a name."""


@dataclass(frozen=True)
class Class:
    """A class of OCSF: its number and name, those of its category, its activities, and what is special to it.

    ``build`` makes the attributes that it requires; ``profiles`` are those whose attributes may stand in it.
    """

    uid: int
    name: str
    category: int
    category_name: str
    activities: Mapping[int, str]
    build: Callable[[Leaf], Built]
    profiles: tuple[str, ...] = ()


METHODS = {1: "Connect", 2: "Delete", 3: "Get", 4: "Head", 5: "Options", 6: "Post", 7: "Put", 8: "Trace"}


# -- parts ----------------------------------------------------------------------------------------------------------


def _user(leaf: Leaf) -> Built:
    subject = leaf.get("subject", {})
    name = subject.get("user") or subject.get("login") or subject.get("account") or "unknown"
    found: Built = {"name": name}
    if subject.get("account", name) != name:
        found["uid"] = subject["account"]
    return found


def _actor(leaf: Leaf) -> Built:
    """Who did it: an admin who acts as somebody else is the one who does."""
    subject = leaf.get("subject", {})
    found: Built = {"app_name": leaf.get("producer", "gateway")}
    if subject.get("impersonator"):
        found["user"] = {"name": subject["impersonator"]}
    elif subject:
        found["user"] = _user(leaf)
    if leaf.get("session"):
        found["session"] = {"uid": leaf["session"]}
    return found


def _device(leaf: Leaf) -> Built:
    node = leaf.get("node", "")
    named = {"hostname": node} if _HOSTNAME.fullmatch(node) else {"name": node or "hub"}
    return {**named, "type_id": 1, "type": "Server"}


def _source(leaf: Leaf) -> Built:
    source = leaf.get("source", "")
    try:
        return {"ip": str(ipaddress.ip_address(source))}
    except ValueError:
        return {"name": source or leaf.get("node") or "hub"}


def _gateway(_: Leaf) -> Built:
    return {"svc_name": "hpcsec gateway"}


def _file(leaf: Leaf) -> Built:
    on = leaf.get("object", {})
    path = on.get("name", "")
    found: Built = {"name": path.rstrip("/").rpartition("/")[2] or path or "unknown", "type_id": 0}
    if path:
        found["path"] = path
    if "size" in on:
        found["size"] = on["size"]
    if on.get("sha256"):
        found["hashes"] = [{"algorithm": "SHA-256", "algorithm_id": SHA_256, "value": on["sha256"]}]
    return found


def _traffic(leaf: Leaf) -> Built:
    if "bytes_from_node" not in leaf and "bytes_to_node" not in leaf:
        return {}
    came, went = leaf.get("bytes_from_node", 0), leaf.get("bytes_to_node", 0)
    return {"traffic": {"bytes_in": came, "bytes_out": went, "bytes": came + went}}


# -- classes --------------------------------------------------------------------------------------------------------


def _build_file(leaf: Leaf) -> Built:
    return {"actor": _actor(leaf), "device": _device(leaf), "file": _file(leaf)}


def _build_process(leaf: Leaf) -> Built:
    """A kernel or a terminal, by the name that Jupyter gives it; what is done in one is done by that process."""
    uid = leaf.get("kernel") or leaf.get("terminal") or leaf.get("session") or "unknown"
    name = "terminal" if "terminal" in leaf["kind"] else "kernel"
    return {"actor": _actor(leaf), "device": _device(leaf), "process": {"uid": str(uid), "name": name}}


def _build_finding(leaf: Leaf) -> Built:
    info: Built = {"uid": leaf["id"], "title": leaf["kind"], "product_uid": PRODUCT["name"], "types": [leaf["kind"]]}
    if leaf.get("reason"):
        info["desc"] = leaf["reason"]
    return {"finding_info": info, "actor": _actor(leaf), "device": _device(leaf)}


def _build_authentication(leaf: Leaf) -> Built:
    found: Built = {
        "user": _user(leaf),
        "actor": _actor(leaf),
        "service": {"name": "jupyter_hpcsec"},
        "src_endpoint": _source(leaf),
        "is_remote": True,
    }
    if leaf.get("session"):
        found["session"] = {"uid": leaf["session"]}
    return found


def _build_entity(leaf: Leaf) -> Built:
    what, _, _ = leaf["kind"].partition(".")
    name = leaf.get("session") or leaf.get("what") or leaf.get("object", {}).get("name") or what
    return {"entity": {"name": name, "type": what}, "actor": _actor(leaf)}


def _build_network(leaf: Leaf) -> Built:
    return {
        "actor": _actor(leaf),
        "device": _device(leaf),
        "src_endpoint": _source(leaf),
        "dst_endpoint": _gateway(leaf),
        **_traffic(leaf),
    }


def _build_http(leaf: Leaf) -> Built:
    """The path is the event's object; a request that has no answer yet, or got none, has the status 0."""
    request: Built = {"url": {"path": leaf.get("object", {}).get("name") or "/"}}
    if str(leaf.get("method", "")).capitalize() in METHODS.values():  # OCSF has no other; it stays under ``unmapped``
        request["http_method"] = leaf["method"]
    status = leaf.get("status")
    response = {"code": status if isinstance(status, int) else 0}
    return {**_build_network(leaf), "http_request": request, "http_response": response}


def _build_lifecycle(leaf: Leaf) -> Built:
    name = {"audit": "audit record", "gateway": "gateway"}.get(leaf["kind"].partition(".")[0], "session's server")
    app = {**PRODUCT, "name": f"jupyter_hpcsec {name}"}
    return {"app": app, "actor": _actor(leaf), "device": _device(leaf)}


def _build_api(leaf: Leaf) -> Built:
    operation = leaf.get("call") or leaf.get("action") or leaf["kind"]
    return {"actor": _actor(leaf), "src_endpoint": _source(leaf), "api": {"operation": operation}}


def _build_datastore(leaf: Leaf) -> Built:
    database = {"name": "audit record", "type": "Other", "type_id": 99}
    return {"actor": _actor(leaf), "src_endpoint": _source(leaf), "database": database}


_CONTROL = ("host", "security_control")
FILE = Class(
    1001,
    "File System Activity",
    1,
    "System Activity",
    {1: "Create", 2: "Read", 3: "Update", 4: "Delete", 5: "Rename", 14: "Open", 99: "Other"},
    _build_file,
    _CONTROL,
)
PROCESS = Class(
    1007,
    "Process Activity",
    1,
    "System Activity",
    {1: "Launch", 2: "Terminate", 3: "Open", 99: "Other"},
    _build_process,
    _CONTROL,
)
FINDING = Class(2004, "Detection Finding", 2, "Findings", {1: "Create"}, _build_finding, _CONTROL)
AUTHENTICATION = Class(
    3002,
    "Authentication",
    3,
    "Identity & Access Management",
    {1: "Logon", 2: "Logoff", 3: "Authentication Ticket", 5: "Service Ticket Renew", 99: "Other"},
    _build_authentication,
)
ENTITY = Class(
    3004,
    "Entity Management",
    3,
    "Identity & Access Management",
    {1: "Create", 2: "Read", 3: "Update", 4: "Delete", 99: "Other"},
    _build_entity,
    ("host",),
)
NETWORK = Class(
    4001,
    "Network Activity",
    4,
    "Network Activity",
    {1: "Open", 2: "Close", 3: "Reset", 5: "Refuse", 6: "Traffic", 99: "Other"},
    _build_network,
    _CONTROL,
)
HTTP = Class(4002, "HTTP Activity", 4, "Network Activity", {**METHODS, 99: "Other"}, _build_http, _CONTROL)
LIFECYCLE = Class(
    6002,
    "Application Lifecycle",
    6,
    "Application Activity",
    {3: "Start", 4: "Stop", 99: "Other"},
    _build_lifecycle,
    ("host",),
)
API = Class(
    6003,
    "API Activity",
    6,
    "Application Activity",
    {1: "Create", 2: "Read", 3: "Update", 4: "Delete", 99: "Other"},
    _build_api,
)
DATASTORE = Class(
    6005,
    "Datastore Activity",
    6,
    "Application Activity",
    {1: "Read", 4: "Query", 7: "Delete", 99: "Other"},
    _build_datastore,
    ("security_control",),
)
BASE = Class(0, "Base Event", 0, "Uncategorized", {99: "Other"}, lambda leaf: {})
