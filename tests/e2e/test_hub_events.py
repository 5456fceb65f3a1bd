"""JupyterHub's events with a real hub and proxy: who did what, from where; refused where it can't be recorded."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.site import wait_until
from tests.e2e.smallhub import SmallHub
from tests.e2e.test_hub import sleeping

pytestmark = pytest.mark.e2e

SETTINGS = """
from jupyter_hpcsec.ops.demo_spawner import QuickstartSpawner
c.JupyterHub.spawner_class = QuickstartSpawner
c.HpcsecSpawnerMixin.admin_socket = "{directory}/admin.sock"
c.HpcsecSpawnerMixin.profiles = []
c.QuickstartSpawner.demo_home = "{directory}"
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
c.HpcsecSpawnerMixin.gateway_timeout = 5
c.QuickstartSpawner.batch_script = "#!/bin/bash\\nexec sleep 1000\\n"
c.DummyAuthenticator.allow_all = True
c.DummyAuthenticator.password = "right"
c.Authenticator.admin_users = {{"root"}}
c.JupyterHub.load_roles += [
    {{"name": "user", "scopes": ["self", "shares!user", "read:users:name"]}},
    {{"name": "admins", "users": ["root"], "scopes": ["access:servers", "admin:servers", "list:users"]}},
]
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[SmallHub]:
    small = SmallHub(tmp_path, SETTINGS.format(directory=tmp_path))
    try:
        yield small.start(gateway=True)
    finally:
        small.api("DELETE", "/users/alice/server")
        wait_until(lambda: not sleeping(tmp_path), "no job is left")
        small.stop()


class Browser:
    """One person's."""

    def __init__(self, hub: SmallHub) -> None:
        self.client = httpx.Client(base_url=hub.url, follow_redirects=True, timeout=60)

    def xsrf(self) -> str:
        return next(cookie.value or "" for cookie in self.client.cookies.jar if cookie.name == "_xsrf")

    def log_in(self, name: str, password: str, **headers: str) -> httpx.Response:
        self.client.get("/hub/login")
        form = {"username": name, "password": password, "_xsrf": self.xsrf()}
        return self.client.post("/hub/login?next=%2Fhub%2Ftoken", data=form, headers=headers)

    def api(self, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {"X-XSRFToken": self.xsrf(), "Referer": str(self.client.base_url.join("/hub/token"))}
        return self.client.request(method, f"/hub/api{path}", json=body, headers=headers)


def events(hub: SmallHub, kind: str = "") -> list[dict[str, Any]]:
    path = hub.directory / "hub-events.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [event for event in found if not kind or event["kind"] == kind]


def test_who_did_what_is_told_and_refused_where_it_can_not_be(hub: SmallHub) -> None:
    alice, root = Browser(hub), Browser(hub)
    # A failed login, with a forged source
    assert alice.log_in("alice\n2026 root logged in", "wrong", **{"X-Forwarded-For": "1.2.3.4"}).status_code == 403
    wait_until(lambda: events(hub, "hub.login-refused"), "the refusal is told")
    (refused,) = events(hub, "hub.login-refused")
    assert refused["subject"]["login"].isprintable()
    assert refused["source"] == "127.0.0.1"
    assert (refused["decision"], refused["rule"]) == ("refused", "login.credentials")
    assert "wrong" not in json.dumps({**refused, "reason": ""})
    # No record: nobody gets in, with a sentence
    hub.gateway.end(signal.SIGKILL)
    answer = alice.log_in("alice", "right")
    assert answer.status_code == 503
    assert "can&#39;t be recorded" in answer.text
    assert alice.client.get("/hub/token").url.path == "/hub/login"
    hub.gateway.start()
    wait_until((hub.directory / "admin.sock").exists, "the gateway is back")
    # Then a login, tokens, shares
    assert alice.log_in("alice", "right").status_code == 200
    (login,) = events(hub, "hub.login")
    assert (login["subject"], login["source"]) == ({"login": "alice", "user": "alice"}, "127.0.0.1")
    made = alice.api("POST", "/users/alice/tokens", {"note": "x"})
    assert made.status_code == 201, made.text
    assert alice.api("DELETE", f"/users/alice/tokens/{made.json()['id']}").status_code == 204
    assert alice.api("POST", "/users/bob/tokens", {}).status_code in (403, 404)
    assert made.json()["token"] not in json.dumps(events(hub))
    alice.api("POST", "/shares/alice/", {"user": "root"})
    wait_until(lambda: len(events(hub, "hub.token")) == 3 and events(hub, "hub.share"), "the changes are told")
    created, revoked, foreign = events(hub, "hub.token")
    assert (created["action"], created["decision"], created["subject"]) == ("create", "allowed", {"user": "alice"})
    assert (revoked["action"], revoked["decision"]) == ("revoke", "allowed")
    assert (foreign["decision"], foreign["subject"]) == ("refused", {"user": "bob", "impersonator": "alice"})
    # An admin starts somebody else's server, which is told before it is done
    assert root.log_in("root", "right").status_code == 200
    root.api("POST", "/users/alice/server", {})
    wait_until(lambda: events(hub, "hub.server"), "the start is told")
    (start,) = [event for event in events(hub, "hub.server") if event["action"] == "start"]
    assert start["subject"] == {"user": "alice", "impersonator": "root"}
    # and asks for access to it
    query = {
        "client_id": "jupyterhub-user-alice", "response_type": "code", "redirect_uri": "/user/alice/oauth_callback",
    }  # fmt: skip
    root.client.get("/hub/api/oauth2/authorize", params=query, follow_redirects=False)
    (access,) = events(hub, "hub.admin-access")
    assert access["subject"] == {"user": "alice", "impersonator": "root"}
    assert access["decision"] == "allowed"
    # The end
    root.api("DELETE", "/users/alice/server")
    alice.client.get("/hub/logout")
    wait_until(lambda: events(hub, "hub.logout"), "the logout is told")
    assert events(hub, "hub.logout")[0]["subject"] == {"user": "alice"}
