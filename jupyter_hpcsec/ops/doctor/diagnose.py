"""The doctor's two visits, with the real world and the real gateway. What is judged is in ``hub`` and ``node``."""

import asyncio
from dataclasses import replace
from pathlib import Path

from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.hub.server_plan import SESSION_VARIABLE
from jupyter_hpcsec.ops.doctor import hub, node
from jupyter_hpcsec.ops.doctor.finding import Finding
from jupyter_hpcsec.ops.doctor.world import RealWorld, World
from jupyter_hpcsec.tunnel.admin import AdminClient


def hub_side(
    *,
    admin_socket: Path,
    public_url: str,
    proxy_api_url: str,
    hub_api_url: str | None,
    batch_system: str,
    world: World | None = None,
) -> list[Finding]:
    """Every hop of the hub's host. ``hub_api_url`` None means the one that the gateway uses."""
    client = AdminClient(admin_socket)
    side = hub.HubSide(
        admin_socket=admin_socket,
        status=lambda: asyncio.run(client.status()),
        public_url=public_url,
        proxy_api_url=proxy_api_url,
        hub_api_url=hub_api_url,
        batch_system=batch_system,
    )
    return hub.examine(world or RealWorld(), side)


def node_side(*, gateway: str = "", ca_pin: str = "", world: World | None = None) -> list[Finding]:
    """Every hop of a compute node. Raises Malformed where the gateway is not known and how to name it."""
    world = world or RealWorld()
    path = world.environ().get(SESSION_VARIABLE)
    try:
        session_file = world.read(Path(path)) if path else None
    except OSError as exc:
        raise Malformed(f"the session's file {path} can't be read: {exc.strerror}; restart the server") from exc
    side = node.discover(world.environ(), session_file, gateway=gateway, ca_pin=ca_pin)
    if side.runtime is not None:  # a session that has a /tmp of its own finds its directory by a link
        side = replace(side, runtime=side.runtime.resolve())
    return node.examine(world, side)
