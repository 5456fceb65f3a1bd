"""Thirty starts and stops in a row leave nothing on hub host and nodes: descriptors, files, processes, memory."""

import asyncio
import os
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.hub.processes import processes
from jupyter_hpcsec.ops.listeners import effective_uid
from tests.e2e.onnode import at_node
from tests.e2e.person import Person, person
from tests.e2e.site import USERS, Site, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slurm, pytest.mark.timeout(600)]

ROUNDS = 10
"""Of three starts each, one of each user's."""
WARM_UP = 1
"""Rounds before the first look: caches fill, and databases make their journals."""
SETTLING_S = 60.0
MIB = 1024 * 1024

FILES = """
import json
from pathlib import Path
found = []
for top in ("/tmp", "/var/tmp", "/run", "/dev/shm"):
    found += [str(path) for path in Path(top).rglob("*") if not str(path).startswith("/run/munge")]
print(json.dumps(sorted(found)))
"""


def descriptors(pid: int) -> Counter[str]:
    """A process's open descriptors by kind; numbers of sockets and pipes left out."""
    found: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[str(entry.readlink()).split(":[", maxsplit=1)[0]] += 1
        except FileNotFoundError:
            continue
    return found


def resident(pid: int) -> int:
    """Bytes of memory that are this process's own (statm(5): resident less shared)."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")


def users_processes() -> list[int]:
    uids = {Path("/home", name).stat().st_uid for name in USERS}
    found = []
    for pid, process in processes().items():
        try:
            if not process.is_zombie and effective_uid(pid) in uids:
                found.append(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def grows(path: Path) -> bool:
    """Databases' journals come and go, and a record is kept of what happened: it is meant to become more."""
    is_record = bool({"tile", "values"} & set(path.parts)) or path.suffix == ".journal"
    return is_record or path.name.endswith(("-wal", "-shm"))


def nothing_more(after: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether nothing was left; a node may have one process less, since Slurm's own come and go."""
    name = "node processes"
    fewer = all(after[name][node] <= before[name][node] for node in before[name])
    return fewer and {**after, name: None} == {**before, name: None}


def look(site: Site) -> dict[str, Any]:
    """All that could be left, at a moment when nobody has a server."""
    pids = {name: part.pid for name, part in site.parts.items()}
    return {
        "descriptors": {name: dict(descriptors(pid)) for name, pid in pids.items()},
        "children": {
            name: sum(process.parent == pid for process in processes().values()) for name, pid in pids.items()
        },
        "state": sorted(str(path) for path in site.state.rglob("*") if not grows(path)),
        "node files": {node: at_node(site, node, FILES) for node in site.cluster.nodes},
        "node processes": {
            node: int(site.cluster.node_exec(node, ["sh", "-c", "ls -d /proc/[0-9]* | wc -l"]).stdout)
            for node in site.cluster.nodes
        },
        "users' processes": users_processes(),
        "queue": site.slurm("squeue", "--noheader"),
    }


async def settled(site: Site, same_as: dict[str, Any] | None = None) -> dict[str, Any]:
    """A look once everything has ended; connections that are kept alive may take a while to be dropped.

    Waits until a look is ``same_as``, or the same as the one before it, and gives up with the last one.
    """
    wait_until(lambda: not users_processes(), "the users' processes are gone")
    end = time.monotonic() + SETTLING_S
    found = look(site)
    while time.monotonic() < end:
        await asyncio.sleep(0.5)
        before, found = found, look(site)
        if found == before if same_as is None else nothing_more(found, same_as):
            break
    return found


@pytest.fixture
async def people(site: Site) -> AsyncIterator[list[Person]]:
    async with person(site, "alice") as alice, person(site, "bob") as bob, person(site, "carol") as carol:
        yield [alice, bob, carol]


async def one_round(people: list[Person], work: bool) -> None:
    async def start_and_stop(someone: Person) -> None:
        await someone.ask_for_server()
        async for _ in someone.progress():
            pass
        if work:
            await someone.open()
            kernel = await someone.kernel()
            assert await kernel.run("print(6 * 7)") == "42"
            kernel.close()
        await someone.stop()

    await asyncio.gather(*(start_and_stop(someone) for someone in people))


async def test_thirty_starts_and_stops_leave_nothing(site: Site, people: list[Person]) -> None:
    for _ in range(WARM_UP):
        await one_round(people, work=True)
    before = await settled(site)
    memory = []
    for number in range(ROUNDS):
        await one_round(people, work=number % 5 == 0)
        memory.append(resident(site.parts["gateway"].pid))
    after = await settled(site, before)
    assert nothing_more(after, before), [
        (name, after[name], before[name]) for name in after if after[name] != before[name]
    ]
    status = await site.gateway.status()
    assert (status["sessions"], await site.gateway.sessions()) == (0, [])
    slope = statistics.linear_regression(range(ROUNDS), memory).slope
    assert slope * ROUNDS < 8 * MIB, f"the gateway grew by {memory}"
    text = site.log("gateway") + site.log("hub")
    assert "Traceback" not in text, text[text.index("Traceback") - 500 :][:3000]
    assert "BUG" not in text
