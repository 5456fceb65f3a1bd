"""Where the metrics are served: on the admin socket to whom it is open, on the loopback to this host's users."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.tunnel.admin import AdminControl, AdminServer
from jupyter_hpcsec.tunnel.metricsport import MetricsServer, fetch, route

PAGE = b"hpcsec_lanes 5\n"


async def render() -> bytes:
    return PAGE


@pytest.fixture
def socket() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="", dir="/tmp") as name:
        yield Path(name) / "admin.sock"


def server(uids: set[int]) -> AdminServer:
    return AdminServer(cast(AdminControl, None), allowed_uids=uids, routes=[route(render)])


async def test_who_may_not_use_the_admin_socket_gets_none(socket: Path) -> None:
    with pytest.raises(Unavailable, match="HPCSEC_ADMIN_SOCKET"):
        await fetch(socket)
    admin = server({os.geteuid() + 1})
    admin.listen(socket)
    with pytest.raises(Unavailable):
        await fetch(socket)
    await admin.stop()
    admin = server({os.geteuid()})
    admin.listen(socket)
    assert await fetch(socket) == PAGE.decode()
    await admin.stop()


async def test_the_loopback_serves_the_page_and_nothing_else() -> None:
    serving = MetricsServer("127.0.0.1:0", render)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{serving.port}") as client:
            for method, path in (("GET", "/"), ("POST", "/metrics"), ("POST", "/v1/end"), ("GET", "/metrics/x")):
                refused = await client.request(method, path)
                assert refused.status_code in (404, 405), path
            found = await client.get("/metrics")
    finally:
        await serving.stop()
    assert (found.status_code, found.content) == (200, PAGE)
    assert found.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    shown: dict[str, Any] = dict(found.headers)
    assert "server" not in shown
