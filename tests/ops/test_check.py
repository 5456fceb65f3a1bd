"""The report of the check: what counts as held, and that each single failure is one."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.ops import check as module
from jupyter_hpcsec.ops.check import Check, Report
from jupyter_hpcsec.ops.console import Console
from jupyter_hpcsec.ops.session_ports import View
from jupyter_hpcsec.ops.stopping import Interrupted
from jupyter_hpcsec.ops.versions import ABSENT, package, program, versions

GOOD: dict[str, Any] = {"finished": True, "listeners": []}
PORT = {"protocol": "tcp", "address": "127.0.0.1", "port": 8888, "pid": 1, "inode": 2}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"finished": False}, 1),
        ({"listeners": None}, 1),
        ({"listeners": [PORT]}, 1),
        ({"errors": ["The statistic is '0.9'."]}, 1),
        ({"errors": [Interrupted.__name__], "finished": False}, 130),
        ({}, 0),
    ],
)
def test_one_thing_that_does_not_hold_is_enough(changes: dict[str, Any], status: int) -> None:
    report = Report(**(GOOD | changes))
    assert report.status == status and report.ok is (status == 0) and report.as_json()["ok"] is (status == 0)
    assert report.as_text().startswith("ok") is (status == 0)


def test_the_object_has_what_is_promised() -> None:
    promised = {"ok", "notebook", "listeners", "timings", "versions", "protections", "errors", "transfer"}
    promised |= {"progress", "record", "gpus", "console"}
    assert Report().as_json().keys() == promised


class StandIn:
    """Browser and demo as far as a single step needs them."""

    def __init__(self, *views: View) -> None:
        self.views = list(views)
        self.plan, self.family, self.console = self, self, self
        self.user, self.url = "ada", "http://127.0.0.1:1"
        self.asked: list[tuple[str, str]] = []

    def check(self) -> None:
        pass

    def say(self, part: str, text: str) -> None:
        pass

    def login_url(self) -> str:
        return "/hub/onetime?code=x"

    async def page(self, path: str) -> None:
        self.asked.append(("GET", path))

    async def fetch(self, method: str, path: str, body: Any = None) -> None:
        self.asked.append((method, path))

    async def close(self) -> None:
        pass

    async def look(self) -> View:
        return self.views.pop(0) if len(self.views) > 1 else self.views[0]


def check_of(stand_in: Any) -> tuple[Check, Report]:
    report = Report()
    return Check(stand_in, stand_in, report, stand_in.look), report


@pytest.mark.parametrize(
    ("view", "kind"),
    [
        (View(0, 0, []), Unavailable),
        (View(1, 3, []), Unavailable),
        (View(2, 8, []), Unavailable),
        (View(1, 4, [PORT]), Refused),
    ],
)
async def test_listeners_need_a_session_to_look_at_and_none_open(view: View, kind: type[Exception]) -> None:
    check, _ = check_of(StandIn(view))
    with pytest.raises(kind):
        await check._look_at_listeners()


async def test_a_session_without_listeners_holds() -> None:
    check, report = check_of(StandIn(View(1, 4, [])))
    await check._look_at_listeners()
    assert report.listeners == []


async def test_a_link_that_is_good_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = StandIn(View(0, 0, []))
    monkeypatch.setattr(module, "Browser", lambda url: stand_in)
    check, _ = check_of(stand_in)
    with pytest.raises(Refused, match="good twice"):
        await check._log_in()


@pytest.mark.parametrize(
    ("url", "text", "answer", "rule"),
    [
        ("/services/hpcsec/live", "a session-1 b", None, "console.open"),
        ("/services/hpcsec/live", "nothing runs", 403, "console.wrong"),
        ("/hub/login", "a session-1 b", 403, "console.wrong"),
        ("/services/hpcsec/live", "a session-1 b", 500, "console.wrong"),
        ("/services/hpcsec/live", "a session-1 b", 403, ""),
    ],
)
async def test_the_console_is_for_the_auditor_alone(
    monkeypatch: pytest.MonkeyPatch, url: str, text: str, answer: int | None, rule: str
) -> None:
    class Both(StandIn):
        def auditor_url(self) -> str:
            return "/hub/onetime?code=y"

        async def sessions(self) -> list[dict[str, Any]]:
            return [{"id": "session-1"}]

        async def page(self, path: str) -> Any:
            if path.startswith("/services") and answer is not None:
                raise Refused(f"http.{answer}", "refused")
            return httpx.Response(200, text=text, request=httpx.Request("GET", f"http://hub{url}"))

    stand_in = Both()
    monkeypatch.setattr(module, "Browser", lambda url: stand_in)
    check, report = check_of(stand_in)
    if rule:
        with pytest.raises(Refused) as refusal:
            await check._look_at_console()
        assert refusal.value.rule == rule
    else:
        await check._look_at_console()
        assert report.console == {"auditor_sees_session": True, "data_scientist": "http.403"}


async def test_processes_that_outlive_the_stop_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_PATIENCE_S", 0.0)
    check, _ = check_of(StandIn(View(1, 4, [])))
    with pytest.raises(Refused, match="4 of its processes"):
        await check._stop_server()


async def test_a_stop_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TICK_S", 0.0)
    stand_in = StandIn(View(1, 4, []), View(1, 1, []), View(0, 0, []))
    check, _ = check_of(stand_in)
    await check._stop_server()
    assert ("DELETE", "/hub/api/users/ada/server") in stand_in.asked


async def test_a_start_that_fails_is_in_the_report(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as out:
        report = await module.checked(module.Settings(), Console(out), {"PATH": str(tmp_path)})
    assert report.status == 1 and "configurable-http-proxy" in report.errors[0] and report.protections["off"]


def test_versions_say_what_is_absent(tmp_path: Path) -> None:
    silent, failing = tmp_path / "silent", tmp_path / "failing"
    for path, text in ((silent, "exit 3"), (failing, "")):
        path.write_text(f"#!/bin/sh\n{text}\n" if text else "#!/no/such/interpreter\n")
        path.chmod(0o755)
    path = str(tmp_path)
    assert package("no-such-distribution") == ABSENT
    assert program(("no-such-program",), path) == ABSENT
    assert program(("silent",), path) == "no answer (status 3)"
    assert program(("failing",), path).startswith("no answer (FileNotFoundError")
    found = versions({"shell": ("sh", "-c", "echo 1.0; echo more")}, "/usr/bin:/bin")
    assert program(("sh", "-c", "echo $WHICH"), "/usr/bin:/bin", {"WHICH": "ours"}) == "ours"
    assert found["shell"] == "1.0" and found["jupyterhub"] != ABSENT
