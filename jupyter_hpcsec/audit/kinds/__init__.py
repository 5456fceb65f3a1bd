"""Every kind of event, and the JSON Schema of each.

A kind is added in a module of this package and nowhere else; one that was published keeps its name and its fields (a
changed meaning is a new kind). ``hpcsec audit schema`` prints what stands here.
"""

from typing import Any

import msgspec

from jupyter_hpcsec.audit.events import Event, Stamp, Told, ToldByRoot, kind_of
from jupyter_hpcsec.audit.kinds import (
    connections,
    console,
    gateway,
    gpu,
    gpunode,
    hub,
    kernels,
    node,
    oversight,
    policy,
    projects,
    record,
    requests,
    sessions,
    terminals,
    transfers,
)

MODULES = (
    *(record, gateway, sessions, connections, requests, transfers, kernels, terminals, node, gpu, gpunode, hub),
    *(policy, console, oversight, projects),
)
"""In the order in which the documentation lists them."""

KINDS: dict[str, type[Event]] = {
    kind_of(each): each
    for module in MODULES
    for name, each in vars(module).items()
    if isinstance(each, type) and issubclass(each, Event) and each.__module__ == module.__name__ and name[0] != "_"
}

TELLABLE: dict[str, type[Told]] = {
    kind: each for kind, each in KINDS.items() if issubclass(each, Told) and not issubclass(each, ToldByRoot)
}
"""What a session's node may tell."""

TELLABLE_BY_ROOT: dict[str, type[ToldByRoot]] = {
    kind: each for kind, each in KINDS.items() if issubclass(each, ToldByRoot)
}
"""What root's helper on a node may tell."""

FROM_HUB: tuple[type[Event], ...] = tuple(each for each in KINDS.values() if each.__module__ == hub.__name__)
"""What the hub may have recorded as its word."""

FROM_CONSOLE: tuple[type[Event], ...] = tuple(
    each for each in KINDS.values() if each.__module__ in {console.__name__, oversight.__name__}
)
"""What the security console may have recorded: it runs as the gateway's own user, and the gateway notes its word."""


def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one kind's leaves."""
    described: dict[str, Any] = msgspec.json.schema(KINDS[kind])
    added: dict[str, Any] = msgspec.json.schema(Stamp)
    definitions = {**added["$defs"], **described["$defs"]}
    stamp, event = definitions.pop("Stamp"), definitions.pop(KINDS[kind].__name__)
    properties = {**stamp["properties"], **event["properties"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:jupyter-hpcsec:audit:v1:{kind}",
        "title": kind,
        "description": event["description"],
        "type": "object",
        "properties": properties,
        "required": sorted({"kind", *stamp["required"]}),
        "additionalProperties": False,
        "$defs": definitions,
    }
