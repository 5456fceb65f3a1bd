"""What a session costs the gateway in memory: idle since it enrolled, and idle after a download."""

import asyncio
from pathlib import Path

from jupyter_hpcsec.ops.bench.cost import memory_bytes
from jupyter_hpcsec.ops.bench.load import LoadClient, where
from jupyter_hpcsec.ops.bench.results import Results
from jupyter_hpcsec.ops.bench.rounds import MIB
from jupyter_hpcsec.ops.bench.ways import Tunnel

FIRST_SESSIONS = 48
"""Enrolled before the first reading, so that code, caches and what else is there once are not counted."""
LEAST_SESSIONS = 100
"""Between the two readings: an allocator's arenas are no longer seen in the quotient."""
USED_SESSIONS = 16
SETTLE_S = 1.0


async def measure(tunnel: Tunnel, server: Path, client: LoadClient, sessions: int, results: Results) -> None:
    """The difference between two counts of idle sessions, by their difference; kernel memory (sockets) is not in it."""
    sessions = max(sessions, LEAST_SESSIONS)
    gateway = tunnel.ends()["gateway"]
    await tunnel.add_sessions(FIRST_SESSIONS, server)
    await asyncio.sleep(SETTLE_S)
    before = memory_bytes(gateway)
    sockets = await tunnel.add_sessions(sessions, server)
    await asyncio.sleep(SETTLE_S)
    after = memory_bytes(gateway)
    lanes = await _lanes(tunnel, sockets)
    results.add("idle", tunnel.name, bytes=(after - before) / sessions, lanes=lanes / sessions, sessions=sessions)
    used = sockets[:USED_SESSIONS]
    for socket in used:
        await client.order("download", where=where(socket), path=f"/bytes/{32 * MIB}", size=32 * MIB, streams=1)
    await asyncio.sleep(SETTLE_S)
    more = (memory_bytes(gateway) - after) / len(used)
    results.add("used", tunnel.name, bytes=(after - before) / sessions + more, sessions=len(used))


async def _lanes(tunnel: Tunnel, sockets: list[Path]) -> int:
    shown = {each["id"]: each["lanes"] for each in await tunnel.admin.sessions()}
    return sum(shown[socket.stem] for socket in sockets)
