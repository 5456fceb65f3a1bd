"""A session with a network of its own on a real node: its app is its owner's alone, and no node comes near it."""

from collections.abc import Iterator

import pytest

from jupyter_hpcsec.errors import Refused, Unavailable
from tests.e2e.onnode import SCAN, at_head, at_node
from tests.e2e.person import Person
from tests.e2e.site import Site, wait_until
from tests.hub.rules import write_policy

pytestmark = [pytest.mark.e2e, pytest.mark.slurm, pytest.mark.timeout(300)]

PRIVATE = '- {who: "*", allow: {write: ["{home}"]}, network: {bind: private}}\n'
PORT, PLAIN = 20041, 20042
APP = f"""
import socket
from tornado import httpserver, web, websocket
class Page(web.RequestHandler):
    def get(self): self.write({{"cookies": list(self.cookies), "uri": self.request.uri}})
    def post(self): self.write("changed")
class Socket(websocket.WebSocketHandler):
    async def on_message(self, message): await self.write_message(message[::-1])
httpserver.HTTPServer(web.Application([(r"/socket", Socket), (r".*", Page)])).listen({PORT})
print("listens")
"""
OUT = """
import socket
try: socket.create_connection(("{address}", {port}), 5); print("connected")
except OSError as error: print(error.strerror)
"""


@pytest.fixture(autouse=True)
def private(site: Site) -> Iterator[None]:
    write_policy(site.policy, PRIVATE)
    yield
    write_policy(site.policy)
    site.clear()


def seen_from_everywhere(site: Site, node: str, port: int) -> dict[str, list[int]]:
    """From where a port of a node takes a connection."""
    address = site.cluster.plan.node(node).address
    other = next(name for name in site.cluster.nodes if name != node)
    inside = {"address": "127.0.0.1", "ports": [port, port], "timeout_s": 2}
    outside = {**inside, "address": address}
    return {
        "same node, another user": at_node(site, node, SCAN, inside, "bob"),
        "same node, its owner": at_node(site, node, SCAN, inside, "alice"),
        "same node, root, its address": at_node(site, node, SCAN, outside),
        "other node": at_node(site, other, SCAN, outside),
        "hub host": at_head(site, SCAN, outside),
    }


async def test_an_app_is_reached_by_its_owner_through_the_hub_and_by_no_node(
    site: Site, alice: Person, bob: Person
) -> None:
    await alice.start()
    kernel = await alice.kernel()
    assert await kernel.run(APP) == "listens"
    node = (await alice.session())["node"]
    wrap = f"--wrap=exec python3 -m http.server {PLAIN}"
    job = site.slurm("sbatch", "--parsable", "-n1", "--mem=100", f"-w{node}", "-o/dev/null", wrap, user="alice")
    try:  # shown first to be able to fail: a plain server on the same node is seen
        wait_until(lambda: seen_from_everywhere(site, node, PLAIN)["same node, another user"], "a plain server")
        assert set(map(tuple, seen_from_everywhere(site, node, PORT).values())) == {()}
        address = site.cluster.plan.node(node).address
        assert await kernel.run(OUT.format(address="127.0.0.1", port=PLAIN)) == "Connection refused"
        assert await kernel.run(OUT.format(address=address, port=PLAIN)) == "Network is unreachable"
    finally:
        site.slurm("scancel", job)

    app = f"{alice.base()}hpcsec/app/{PORT}"
    for method in ("GET", "POST"):
        with pytest.raises(Refused):
            await bob.browser.fetch(method, f"{app}/x")
    with pytest.raises((Refused, Unavailable)):
        await bob.browser.websocket(f"{app}/socket")

    assert (await alice.browser.fetch("GET", f"{app}/x?token=1&a=2")).json() == {"cookies": [], "uri": "/x?a=2"}
    assert (await alice.browser.fetch("POST", f"{app}/x")).text == "changed"
    socket = await alice.browser.websocket(f"{app}/socket")
    await socket.write_message("abc")
    assert await socket.read_message() == "cba"
    socket.close()
    kernel.close()
    await alice.stop()
