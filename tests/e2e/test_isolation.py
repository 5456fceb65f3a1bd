"""Nothing of a session can be reached but by its owner through the hub: not by network, by socket, or by another's URL.

Each way is shown to work where it should, so that a refusal is no accident of the test.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.e2e.onnode import DIAL_UNIX, SCAN, SOCKETS, Sampler, at_head, at_node
from tests.e2e.person import Person
from tests.e2e.site import Site, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slurm, pytest.mark.timeout(300)]

EVERY_PORT = [1, 65535]
SLURM_PORT = 6818


@pytest.fixture(autouse=True, scope="module")
def nothing_else(site: Site) -> Iterator[None]:
    yield
    site.clear()


@pytest.fixture
async def busy_alice(site: Site, alice: Person) -> AsyncIterator[Person]:
    """Alice at work: two kernels and a terminal. Her server serves the whole module."""
    if not site.servers("alice"):
        await alice.start()
    await alice.open()
    kernels = [await alice.kernel(), await alice.kernel()]
    for kernel in kernels:
        await kernel.run("import numpy")
    await alice.browser.fetch("POST", f"{alice.base()}api/terminals", {})
    yield alice
    for kernel in kernels:
        kernel.close()


async def test_no_port_is_open_from_the_jobs_start_to_its_end(site: Site, alice: Person) -> None:
    nodes = site.cluster.nodes
    # shown first to be able to fail: a plain server of the same user's is seen, on whichever node
    samplers = [Sampler(site, node, "alice") for node in nodes]
    with samplers[0], samplers[1]:
        wrap = "--wrap=python3 -m http.server 23456"
        job = site.slurm("sbatch", "--parsable", "-N2", "-n1", "-o/dev/null", wrap, user="alice")
        listening = [node.address for node in site.cluster.plan.nodes]
        ask = {"address": "127.0.0.1", "ports": [23456, 23456], "timeout_s": 1}
        wait_until(lambda: any(at_node(site, node, SCAN, ask) for node in nodes), f"a server at {listening}")
        seen = [sampler.stop()["seen"] for sampler in samplers]
        site.slurm("scancel", job)
    assert "tcp 0.0.0.0 23456" in {**seen[0], **seen[1]}

    samplers = [Sampler(site, node, "alice") for node in nodes]
    with samplers[0], samplers[1]:
        await alice.start()
        kernels = [await alice.kernel() for _ in range(3)]
        for kernel in kernels:
            assert await kernel.run("import numpy, threading; print(40 + 2)") == "42"
        await alice.browser.fetch("POST", f"{alice.base()}api/terminals", {})
        refused = "import socket\ntry: socket.create_server(('', 0))\nexcept OSError as error: print('refused', error)"
        assert "refused" in await kernels[0].run(refused)
        for kernel in kernels:
            kernel.close()
        session = await alice.session()
        await alice.stop()
        wait_until(lambda: site.job_state(session["job_id"]) != "RUNNING", "the job ended")
        seen = [sampler.stop() for sampler in samplers]
    assert [sampler["seen"] for sampler in seen] == [{}, {}]
    looked = dict(zip(nodes, seen, strict=True))[session["node"]]
    assert looked["with_agent"] >= 5, f"the sampler hardly saw the session: {looked}"


async def test_nothing_of_a_session_can_be_dialled(site: Site, busy_alice: Person) -> None:
    node = (await busy_alice.session())["node"]
    other = next(name for name in site.cluster.nodes if name != node)
    address = site.cluster.plan.node(node).address
    # a dropped packet has to be waited for, a refused one not; from the head the firewall drops
    dropped = {"address": address, "ports": EVERY_PORT, "timeout_s": 0.5}
    inside = {"address": "127.0.0.1", "ports": EVERY_PORT, "timeout_s": 5}
    found = {
        "head, root": at_head(site, SCAN, dropped),
        "other node, another user": at_node(site, other, SCAN, dropped, "bob"),
        "other node, root": at_node(site, other, SCAN, dropped),
        "same node, another user": at_node(site, node, SCAN, inside, "bob"),
        "same node, address, another user": at_node(site, node, SCAN, {**inside, "address": address}, "bob"),
    }
    assert found.pop("same node, address, another user") == [SLURM_PORT]  # the scan does find what is there
    assert found.pop("head, root") == [SLURM_PORT]  # and Slurm's own port is all that the head may reach
    assert set(found["same node, another user"]) <= {SLURM_PORT}
    assert found["other node, another user"] == found["other node, root"] == []


async def test_the_sessions_unix_sockets_are_its_users_alone(site: Site, busy_alice: Person) -> None:
    node = (await busy_alice.session())["node"]
    other = next(name for name in site.cluster.nodes if name != node)
    sockets = at_node(site, node, SOCKETS)
    assert any(path.endswith("/server.sock") for path in sockets), sockets
    assert any(path.endswith("/hub.sock") for path in sockets)
    assert any("/k/" in path for path in sockets), f"no kernel's socket is among {sockets}"
    assert not [path for path in sockets if path.startswith("@")]  # whose permissions nobody checks
    assert set(at_node(site, node, DIAL_UNIX, sockets, "bob").values()) == {"Permission denied"}
    for answers in (
        at_node(site, other, DIAL_UNIX, sockets, "bob"),
        at_node(site, other, DIAL_UNIX, sockets),
        at_head(site, DIAL_UNIX, sockets, "bob"),
        at_head(site, DIAL_UNIX, sockets),
    ):
        assert set(answers.values()) <= {"No such file or directory", "Permission denied"}
    mine = at_node(site, node, DIAL_UNIX, [path for path in sockets if path.endswith("/server.sock")], "alice")
    assert set(mine.values()) == {"reached"}


async def test_a_session_socket_on_the_hub_host_serves_hub_and_proxy_alone(site: Site, busy_alice: Person) -> None:
    session = (await busy_alice.session())["id"]
    socket = site.run / "s" / f"{session}.sock"
    names = [str(socket), str(site.run / "admin.sock")]
    assert set(at_head(site, DIAL_UNIX, names, "bob").values()) == {"Permission denied"}
    assert set(at_head(site, DIAL_UNIX, names, "alice").values()) == {"Permission denied"}
    for name in names:  # opened on purpose: then the kernel's word on the peer is what is left
        assert Path(name).stat().st_mode & 0o077 == 0
        Path(name).chmod(0o666)
    assert set(at_head(site, DIAL_UNIX, names, "bob").values()) == {"closed"}
    assert "socket.peer" in site.log("gateway")
    assert "admin.peer" in site.log("gateway")
    refusals = (await site.gateway.status())["refusals"]
    assert refusals["socket.peer"] >= 1
    assert refusals["admin.peer"] >= 1
    for name in names:
        Path(name).chmod(0o600)
    assert at_head(site, DIAL_UNIX, names[:1]) == {names[0]: "reached"}
