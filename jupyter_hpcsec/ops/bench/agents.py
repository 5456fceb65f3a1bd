"""Real agents without jobs: ``python -I -m jupyter_hpcsec.ops.bench.agents RUN COUNT SERVER LISTING``.

Registers COUNT sessions with the gateway whose run directory is RUN, enrols each as a job would, and holds their
tunnels to the unix socket SERVER until a signal ends the process. The session ids are then in the file LISTING.
A benchmark's gateway has no attestor; with any other an enrolment from here is refused.
"""

import asyncio
import hashlib
import logging
import os
import sys
from pathlib import Path

from jupyter_hpcsec.hub.account import on_this_node
from jupyter_hpcsec.hub.credentials import JobCredentials
from jupyter_hpcsec.identity.authority import server_name
from jupyter_hpcsec.tunnel.admin import AdminClient
from jupyter_hpcsec.tunnel.agent import Agent

AT_ONCE = 16
LIFETIME_S = 3600


def name_of(authority: bytes) -> str:
    """The name in the certificate of a gateway under this authority (DER)."""
    return server_name(hashlib.sha256(authority).hexdigest())


async def enrol(admin: AdminClient, run: Path, user: str, server: Path, log: logging.Logger) -> tuple[str, Agent]:
    """One session with its enrolled agent."""
    launch = {"argv": ["-"], "env": {}, "base_url": "/"}
    account = on_this_node(os.environ)
    registration = await admin.register(
        user=user, server="", uid=os.getuid(), lifetime_s=LIFETIME_S, launch=launch, home=account.home
    )
    await admin.bind_job(registration.session, "1")
    agent = Agent(
        endpoints=registration.endpoints,
        ca=registration.ca,
        credentials=JobCredentials(),
        targets={"server": server},
        hub_api_socket=run / f"{registration.session}.hub",
        server_name=name_of,
        log=log,
    )
    await agent.enrol(token=registration.token, job_id="1", node="node1", evidence={}, account=account)
    return registration.session, agent


async def hold(run: Path, count: int, server: Path, listing: Path) -> None:
    """Enrol all, say so, and hold their tunnels."""
    log = logging.getLogger("hpcsec.bench.agents")
    admin = AdminClient(run / "admin.sock", timeout_s=60)
    gate = asyncio.Semaphore(AT_ONCE)
    sessions: list[str] = []

    async def one(number: int) -> None:
        async with gate:
            session, agent = await enrol(admin, run, f"bench{os.getpid()}-{number}", server, log)
        sessions.append(session)
        if len(sessions) == count:
            part = listing.with_suffix(".part")
            part.write_text("\n".join(sessions))
            part.rename(listing)
        await agent.run()

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(number))


def main(words: list[str]) -> None:
    """Take the command line's words."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    run, count, server, listing = words
    asyncio.run(hold(Path(run), int(count), Path(server), Path(listing)))


if __name__ == "__main__":
    main(sys.argv[1:])
