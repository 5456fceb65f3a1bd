"""A person at a site: logs in, starts and stops servers, opens kernels, all by a browser's own routes."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.ops.browser import Browser
from jupyter_hpcsec.ops.notebook import KernelSocket
from tests.e2e.site import PASSWORD, Site


class Kernel:
    """A running kernel and one websocket to it."""

    def __init__(self, person: "Person", base: str, kernel_id: str) -> None:
        self.id = kernel_id
        self._person, self._base = person, base
        self.socket: Any = None

    async def connect(self) -> None:
        client = uuid.uuid4().hex
        path = f"{self._base}api/kernels/{self.id}/channels?session_id={client}"
        self.socket = await self._person.browser.websocket(path)
        self._runner = KernelSocket(self.socket, client, lambda: uuid.uuid4().hex)

    async def run(self, source: str) -> str:
        """What the source printed."""
        return (await self._runner.run(source)).text.strip()

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()


class Person:
    """One user with one browser."""

    def __init__(self, site: Site, name: str) -> None:
        self.site, self.name = site, name
        self.browser = Browser(site.url)

    async def log_in(self) -> None:
        await self.browser.page("/hub/login")
        fields = {"username": self.name, "password": PASSWORD, "_xsrf": self.browser.xsrf("/hub/")}
        try:
            await self.browser.submit("/hub/login?next=%2Fhub%2Fhome", fields)
        except Refused as refusal:
            # the proxy keeps connections to the hub, may use one that the hub has just closed, and says 503 to a POST
            if refusal.rule != "http.503":
                raise
            await self.browser.submit("/hub/login?next=%2Fhub%2Fhome", fields)

    def base(self, server: str = "") -> str:
        return f"/user/{quote(self.name)}/{quote(server) + '/' if server else ''}"

    def _api(self, server: str) -> str:
        user = f"/hub/api/users/{quote(self.name)}"
        return f"{user}/servers/{quote(server)}" if server else f"{user}/server"

    async def ask_for_server(self, server: str = "", **options: Any) -> None:
        """Press *Start*; returns at once."""
        await self.browser.page("/hub/home")
        await self.browser.fetch("POST", self._api(server), options)

    async def progress(self, server: str = "") -> AsyncIterator[str]:
        """The spawn page's messages until the server is ready; ``Refused`` with the page's own sentence."""
        path = f"{self._api(server)}/progress?_xsrf={quote(self.browser.xsrf('/hub/'))}"
        async for event in self.browser.events(path):
            if event.get("failed"):
                raise Refused("spawn.failed", str(event["message"]))
            yield str(event.get("message", ""))
            if event.get("ready"):
                return

    async def start(self, server: str = "", **options: Any) -> list[str]:
        """Start a server and open its page; the messages on the way."""
        await self.ask_for_server(server, **options)
        messages = [message async for message in self.progress(server)]
        await self.open(server)
        return messages

    async def open(self, server: str = "") -> None:
        """Open the server's page, which gives this browser its cookie."""
        await self.browser.page(f"{self.base(server)}lab")

    async def stop(self, server: str = "") -> None:
        await self.browser.page("/hub/home")
        await self.browser.fetch("DELETE", self._api(server))

    async def kernel(self, server: str = "") -> Kernel:
        """A new kernel, connected."""
        base = self.base(server)
        made = (await self.browser.fetch("POST", f"{base}api/kernels", {"name": "python3"})).json()
        kernel = Kernel(self, base, made["id"])
        await kernel.connect()
        return kernel

    async def session(self, server: str = "") -> dict[str, Any]:
        """The gateway's facts of this person's session."""
        found = [s for s in await self.site.gateway.sessions() if (s["user"], s["server"]) == (self.name, server)]
        assert len(found) == 1, found
        return found[0]


@contextlib.asynccontextmanager
async def person(site: Site, name: str) -> AsyncIterator[Person]:
    """Someone who has logged in."""
    someone = Person(site, name)
    try:
        await someone.log_in()
        yield someone
    finally:
        await someone.browser.close()
