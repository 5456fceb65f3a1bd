"""How a unix socket must be given to JupyterHub so that the route is right, and stays right: refusals first.

What is found here is written down in ``docs/decisions/0001-unix-socket-route.md``.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from urllib.parse import quote

import pytest

from tests.e2e.site import wait_until
from tests.e2e.smallhub import SmallHub

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"here": true}')

    def log_message(self, format: str, *args: object) -> None:
        pass

    def address_string(self) -> str:
        return "unix"


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[Callable[[str, str], SmallHub]]:
    """A running hub with one of the toy spawners, and a server that answers at the socket of that name."""
    hubs, servers = [], []

    def start(spawner: str, name: str = "s.sock") -> SmallHub:
        path = tmp_path / name
        assert str(tmp_path) == str(tmp_path).lower()
        (tmp_path / "socket-path").write_text(str(path))
        server = ThreadingUnixStreamServer(str(path), Answer)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        lines = f"""
c.JupyterHub.spawner_class = "tests.e2e.toyspawner.{spawner}"
c.JupyterHub.last_activity_interval = 2
c.Spawner.http_timeout = 5
"""
        hubs.append(SmallHub(tmp_path, lines, production=False))
        return hubs[-1].start()

    yield start
    for hub in hubs:
        hub.stop()
    for server in servers:
        server.shutdown()
        server.server_close()


def url(path: Path) -> str:
    return "http+unix://" + quote(str(path), safe="")


def reaches(hub: SmallHub) -> bool:
    return hub.get("/user/alice/api") == (200, {"here": True})


def test_a_url_alone_reaches_nothing(toy: Callable[..., SmallHub], tmp_path: Path) -> None:
    hub = toy("UrlSpawner")
    hub.start_server("alice")
    # The hub gets through, and says that all is well; the proxy is given a port that is no part of the path.
    server = hub.server("alice")
    assert server and server["ready"]
    assert hub.targets()["/user/alice"] == url(tmp_path / "s.sock") + ":80"
    assert not reaches(hub)


def test_an_address_that_is_set_at_the_start_is_lost_with_the_hub(toy: Callable[..., SmallHub], tmp_path: Path) -> None:
    hub = toy("StartSpawner")
    hub.start_server("alice")
    assert reaches(hub)
    hub.restart(hub.hub)
    wait_until(lambda: hub.targets()["/user/alice"] == url(tmp_path / "s.sock") + ":80", "the hub spoils the route")
    assert not reaches(hub)


def test_capital_letters_do_not_reach_the_socket(toy: Callable[..., SmallHub], tmp_path: Path) -> None:
    hub = toy("StartSpawner", "S.sock")
    status, _ = hub.start_server("alice")
    assert status == 500 and not reaches(hub)
    os.link(tmp_path / "S.sock", tmp_path / "s.sock")
    hub.start_server("alice")
    assert reaches(hub), "the path was folded to lower case"


def test_a_property_survives_hub_and_proxy(toy: Callable[..., SmallHub], tmp_path: Path) -> None:
    hub = toy("PropertySpawner")
    assert not reaches(hub)
    hub.start_server("alice")
    for part, number in (
        (None, 0),
        (hub.hub, signal.SIGKILL),
        (hub.hub, signal.SIGTERM),
        (hub.proxy, signal.SIGKILL),
    ):
        if part is not None:
            hub.restart(part, number)
        wait_until(lambda: reaches(hub), "the browser gets through again")
        server = hub.server("alice")
        assert server and server["ready"] and hub.targets()["/user/alice"] == url(tmp_path / "s.sock")
    assert hub.api("DELETE", "/users/alice/server")[0] in (202, 204)
    wait_until(lambda: "/user/alice" not in hub.targets(), "the route is gone")
