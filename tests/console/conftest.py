"""The console for tests: the real application on a free port, a real gateway with a real record, a stand-in hub.

    async def test_x(place: Place) -> None:
        ada = place.visitor("ada", READ)                 # a browser of somebody who holds these scopes
        answer = await ada.get("live")                   # below the prefix; logs in by OAuth like a browser, follows
        answer = await ada.post("live/end", {"a": "b"})  # with the XSRF token, as one of the console's forms
        place.record(LaneOpened(...), trust="gateway", sealed={"source": b"..."})  # an event, durable on return
        await place.register("alice")                    # a waiting session; its Registration
        await place.events("console.refused")            # events of a kind, once there are any

``place.hub`` is the stand-in (tokens, revocation), ``place.gateway`` the admin client, ``place.deployment`` the parts
of the gateway (registry, store), ``place.log`` the record. ``place.get(path, headers)`` is a bare request of nobody.
"""

import asyncio
import contextlib
import itertools
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from jupyter_hpcsec.audit.events import Event, Trust
from jupyter_hpcsec.audit.layout import Layout
from jupyter_hpcsec.audit.log import Log
from jupyter_hpcsec.audit.reader import Reader
from jupyter_hpcsec.audit.recovery import read_verifier
from jupyter_hpcsec.config_console import ConsoleSettings, HpcsecConsole
from jupyter_hpcsec.console import service
from jupyter_hpcsec.console.identity import Door, make_auth
from jupyter_hpcsec.console.service import serving
from jupyter_hpcsec.hub.auditor import Auditor
from jupyter_hpcsec.hub.projectoffice import ProjectOffice
from jupyter_hpcsec.hub.projectstore import ProjectStore
from jupyter_hpcsec.projects.rules import Site
from jupyter_hpcsec.tunnel.admin import AdminClient, Registration
from tests.console.standinhub import StandInHub
from tests.hub.deployment import Deployment

PREFIX = "/services/hpcsec/"
PATIENCE_S = 120.0
XSRF = re.compile(r'(?:name="_xsrf" value|data-xsrf)="([^"]+)"')


def make_client(url: str) -> httpx.AsyncClient:
    """Plain HTTP only: to load this system's authorities takes longer than most of these tests."""
    return httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE_S, verify=False)  # noqa: S501


class Visitor:
    """A browser of one person: cookies, redirects, and the token of the last form that it was shown."""

    def __init__(self, place: "Place", token: str) -> None:
        self.token, self._place, self.shown = token, place, ""
        self.client = make_client(place.url)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """A page below the prefix, where need be by the hub's login."""
        self._place.hub.visitor = self.token
        url = path if path.startswith(("/", "http")) else f"{PREFIX}{path}"
        for _ in range(10):
            answer = await self.client.get(url, headers=headers)
            if not answer.is_redirect:
                break
            url = answer.headers["Location"]
            if url.startswith("/hub/api/"):
                url = f"{self._place.hub.url}{url}"
            elif "/services/" in url:
                url = url[url.index("/services/") :]
        found = XSRF.search(answer.text)
        self.shown = found[1] if found else self.shown
        return answer

    async def post(self, path: str, fields: Mapping[str, str], **headers: str) -> httpx.Response:
        """A form with the token of the page before, as browsers send it; redirects are not followed."""
        origin = {"Origin": self._place.url, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}
        return await self.client.post(f"{PREFIX}{path}", data={"_xsrf": self.shown, **fields}, headers=origin | headers)


class Place:
    """See this module's text."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.hub = StandInHub()
        self.second_place = directory / "checkpoints"
        self.deployment = Deployment(directory)
        self.log = Log(
            directory / "audit", origin="test.example/audit", second_place=self.second_place, checkpoint_s=0.02
        )
        # a second between any two refusals: each is told by itself, however many pages a test asks for
        clock = map(float, itertools.count()).__next__
        self.auditor = Auditor(self.log, session=self._session, clock=clock, facts=self._facts)
        self.port = 0
        self.door: Door
        self._visitors: list[Visitor] = []

    def forget(self) -> None:
        """As if the time were over for which the console believes the hub's word."""
        self.door.auth.cache.clear()

    def _session(self, session: str) -> Any:
        return self.deployment.store.get(session)

    def _facts(self) -> dict[str, Any]:
        """What a gateway says of its record's surroundings (``hub.record_facts``)."""
        places = {"directory": self.directory / "audit", "second_place": self.second_place}
        forward = {"forward": str(self.directory / "forward"), "witness": None, "witness_key": "", "cosigned": ""}
        days = {"retention_days": 0, "values_days": 0, "free_bytes": 1 << 40, "is_apart": True}
        return {name: str(path) for name, path in places.items()} | forward | days

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def gateway(self) -> AdminClient:
        return self.deployment.client

    def settings(self, **changes: Any) -> ConsoleSettings:
        traits = {
            "hub_api_url": f"{self.hub.url}/hub/api",
            "admin_socket": str(self.directory / "run" / "admin.sock"),
            "audit_directory": str(self.directory / "audit"),
            **changes,
        }
        made = HpcsecConsole(**traits).settings()
        values = {name: getattr(made, name) for name in ConsoleSettings.__dataclass_fields__}
        return ConsoleSettings(**values | {"port": 0})

    def visitor(self, name: str, *scopes: str, **facts: Any) -> Visitor:
        made = Visitor(self, self.hub.person(name, *scopes, **facts))
        self._visitors.append(made)
        return made

    def record(self, event: Event, trust: Trust = "gateway", sealed: Mapping[str, bytes] | None = None) -> int:
        """Record an event; its leaf, once it is under a checkpoint."""
        leaf = self.log.record(event, trust, sealed).result(PATIENCE_S)
        end = time.monotonic() + PATIENCE_S
        while self.log.health().published <= leaf:
            assert time.monotonic() < end, "no checkpoint"
            time.sleep(0.005)
        return int(leaf)

    async def register(self, user: str = "alice", **person: Any) -> Registration:
        return await self.deployment.register(user, **person)

    async def get(self, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        """A bare request of nobody, not followed."""
        async with make_client(self.url) as client:
            return await client.request(method, path if path.startswith("/") else f"{PREFIX}{path}", headers=headers)

    def all_events(self) -> list[dict[str, Any]]:
        layout = Layout(self.directory / "audit")
        return [json.loads(leaf) for _, leaf in Reader(layout, read_verifier(layout)).durable(0)]

    async def events(
        self, kind: str, such: Callable[[dict[str, Any]], bool] = lambda event: True, count: int = 1
    ) -> list[dict[str, Any]]:
        """Events of a kind in the record, as soon as there are ``count``."""
        end = time.monotonic() + PATIENCE_S
        while len(found := [e for e in self.all_events() if e["kind"] == kind and such(e)]) < count:
            assert time.monotonic() < end, f"waited in vain for {count} {kind}: {found}"
            await asyncio.sleep(0.02)
        return found

    async def close(self) -> None:
        for each in self._visitors:
            await each.client.aclose()


@contextlib.asynccontextmanager
async def running(directory: Path, prepare: Callable[[Place], None] = lambda place: None) -> AsyncIterator[Place]:
    """A place that serves; ``prepare`` may change its deployment before that starts."""
    made = Place(directory)
    made.door = Door(make_auth(made.settings(), made.hub.service_token))
    made.deployment.observer = made.auditor
    registry = ProjectStore(directory / "registry" / "projects.sqlite")
    made.deployment.projects = ProjectOffice(registry, mode="optional", site=Site(), observer=made.auditor)
    prepare(made)
    await made.deployment.start(
        reading=made.auditor.reading,
        record=made.auditor.status,
        policy_text=made.deployment.policies.text,
    )
    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(service, "make_auth", lambda settings, token: made.door.auth)
        async with serving(made.settings(), made.hub.service_token, logging.getLogger("test.console")) as made.port:
            yield made
            await made.close()
    await made.deployment.stop()
    await made.hub.stop()
    registry.close()
    made.log.close()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with running(tmp_path) as made:
        yield made
