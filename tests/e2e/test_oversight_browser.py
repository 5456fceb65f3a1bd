"""Integrity, Alerts and Policy in a real browser: pictures by day, by night and on a phone; hostile text does nothing.

The console is the real one, beside a real gateway and record (``tests.console``), in a thread of its own.
"""

import asyncio
import json
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Page, expect

from jupyter_hpcsec.audit.events import Subject
from jupyter_hpcsec.audit.kinds.gpu import GpuAlert
from jupyter_hpcsec.audit.kinds.node import NodeGap, SessionSilent
from jupyter_hpcsec.audit.kinds.requests import TapRefused
from jupyter_hpcsec.audit.kinds.sessions import EnrolmentRefused
from jupyter_hpcsec.console.page import ALERT, END, PROJECT, READ
from tests.console.conftest import PREFIX, Place, running
from tests.console.test_policy import CLOSED, policed
from tests.e2e.chromium import PATIENCE_MS, PHONE, Watch, browser, overflows, picture
from tests.e2e.labpage import AXE, COMPLAINTS

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(600)]

HOSTILE = '<img src=x onerror="window.struck=1"><script>window.struck=1</script>'
WIDEST = """[...document.querySelectorAll("main *")].filter(each => each.getBoundingClientRect().right > innerWidth
    && !each.closest(".scroll, pre, .code")).map(each => each.outerHTML.slice(0, 80)).slice(0, 5).join(" | ")"""
"""What is wider than the page, for the failure's message."""
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
WIDE = {"width": 1280, "height": 640}

expect.set_options(timeout=max(PATIENCE_MS, 120_000))


class Beside:
    """A place that serves in a thread until ``stop``."""

    def __init__(self, directory: Path) -> None:
        self._ready: Future[Place] = Future()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve(directory)))
        self._thread.start()
        self.place = self._ready.result(120)

    async def _serve(self, directory: Path) -> None:
        try:
            async with running(directory, policed) as place:
                await place.register("alice", groups=["genomics"])
                await place.register("bob", groups=["physics"])
                self._ready.set_result(place)
                await self._over.wait()
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(120)
        self._loop.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    beside = Beside(tmp_path)
    yield beside.place
    beside.stop()


@pytest.fixture
def watch() -> Iterator[Watch]:
    with browser() as watch:
        yield watch
        assert watch.hosts() == {"127.0.0.1"}
        assert [each for each in watch.complaints if "/favicon.ico" not in each] == []  # nobody has one here


def pictures(page: Page, name: str) -> None:
    """As it looks by day, by night, and on a phone; nobody has to scroll sideways, and nothing has struck."""
    picture(page, name, full_page=True)
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")  # a colour that is on its way is none
    picture(page, f"{name}-dark", full_page=True)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(PHONE)
    picture(page, f"{name}-phone", full_page=True)
    assert not overflows(page), page.evaluate(WIDEST)
    page.set_viewport_size(WIDE)
    assert page.evaluate("window.struck") is None


def fill(place: Place) -> int:
    """What happens at a site in a bad week; the number of a mining suspicion."""
    alice, carl = Subject(user="alice"), Subject(user="carl")
    signs = {"kinds": "steady words", "signs": "pool algorithm", "score": 3, "steady minutes": 42, "note": HOSTILE}
    mining = GpuAlert(
        rule="R5", state="raised", session="4b" * 16, node="gpu03", job="1203", subject=alice, kernel="9d1f", pid=4711,
        confidence="medium", threshold="score 3 of 5 from two kinds (mining_score)", evidence=json.dumps(signs),
        reason="signs of mining, for review", action="notify",
    )  # fmt: skip
    number = place.record(mining, "node")
    place.record(EnrolmentRefused(rule="enrol.token-used", source="10.1.4.7", node="cn17", reason=HOSTILE))
    place.record(TapRefused(rule="tap.http-malformed", session="5c" * 16, subject=carl, source="192.0.2.9"))
    place.record(NodeGap(session="5c" * 16, subject=carl, node="cn12", first=118, last=131))
    place.record(SessionSilent(session="6d" * 16, subject=Subject(user="dora"), node="cn12", seconds=900))
    place.record(
        GpuAlert(rule="R3", state="raised", session="6d" * 16, subject=carl, kernel="77aa", node="gpu01"), "node"
    )
    return number


def test_integrity_alerts_and_policy_as_people_see_them(watch: Watch, place: Place) -> None:
    number = fill(place)
    token = place.hub.person("auditor", READ, ALERT)
    watch.context.set_extra_http_headers({"Authorization": f"token {token}"})
    page = watch.new_page()
    page.set_viewport_size(WIDE)
    base = f"{place.url}{PREFIX}"

    page.goto(f"{base}alerts")
    expect(page.get_by_role("row")).to_have_count(7)
    pictures(page, "console-alerts")
    page.get_by_role("link", name="Signs of mining, for review").click()
    expect(page.get_by_text("a suspicion for a human to review")).to_be_visible()
    pictures(page, "console-alert")
    page.get_by_label("What did you find").fill(f"Asked alice: a training run, shown to me. {HOSTILE}")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_text("by auditor")).to_be_visible()
    expect(page.get_by_text("Asked alice")).to_be_visible()
    assert page.url.endswith(f"alerts/{number}")

    page.goto(f"{base}integrity")
    expect(page.get_by_text("numbers 118 to 131 never came")).to_be_visible()
    pictures(page, "console-integrity")
    page.get_by_role("button", name="Verify the record").click()
    expect(page.get_by_text("The record holds.")).to_be_visible()
    pictures(page, "console-verify")

    page.goto(f"{base}policy")
    page.get_by_label("User").fill("alice")
    page.get_by_label("Path on the node").fill("/data/genomics/consented-only/x")
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_role("status")).to_contain_text("alice may do nothing with")
    pictures(page, "console-policy")
    page.get_by_label("Or its text").fill(CLOSED)
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("status")).to_contain_text("1 gains and 1 loses something")
    pictures(page, "console-policy-compared")


def test_projects_as_their_people_and_the_office_see_them(watch: Watch, place: Place) -> None:
    def ask(call: Coroutine[Any, Any, Any]) -> None:  # the browser's own loop runs in this thread
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, call).result(120)

    today = datetime.now(UTC).date()
    alice: dict[str, Any] = {"owner": "alice", "on_behalf": "alice"}
    olga: dict[str, Any] = {"on_behalf": "olga", "as_office": True}
    gateway = place.gateway
    purpose = "Which variants stand behind rare diseases.\nData of the first cohort only."
    data = {"users": ["bob"], "groups": ["genomics"], "paths": ["/data/genomics"], "account": "g1"}
    ask(gateway.project_propose("variants", title="Rare variants", purpose=purpose, **data, **alice))
    ask(gateway.project_approve("variants", str(today + timedelta(days=20)), **olga))
    ask(gateway.project_renew("variants", reason="A second cohort has come.", on_behalf="alice"))
    ask(gateway.project_propose("proteins", title="Proteins", purpose=HOSTILE, **alice))
    ask(gateway.project_propose("weather", title="Weather", purpose="Next week's.", owner="dora", on_behalf="dora"))
    ask(gateway.project_approve("weather", str(today + timedelta(days=200)), **olga))
    ask(gateway.project_close("weather", "published", **olga))

    page = watch.new_page()
    page.set_viewport_size(WIDE)
    base = f"{place.url}{PREFIX}"
    for person, scopes in (("olga", [READ, PROJECT]), ("mia", [])):
        token = place.hub.person(person, *scopes, groups=["genomics"])
        watch.context.set_extra_http_headers({"Authorization": f"token {token}"})
        page.goto(f"{base}projects")
        expect(page.get_by_role("row")).to_have_count(4 if scopes else 2)
        if scopes:
            pictures(page, "console-projects")
        page.get_by_role("link", name="Rare variants").click()
        expect(page.get_by_text("A second cohort has come.")).to_be_visible()
        expect(page.get_by_role("button", name="Renew")).to_have_count(1 if scopes else 0)
        pictures(page, "console-project" if scopes else "console-project-member")
    page.goto(f"{base}projects/new")
    pictures(page, "console-propose")


def test_axe_finds_nothing_serious_on_any_page(watch: Watch, place: Place) -> None:
    """What a program can tell of whether people with another sight, or without a mouse, can use the pages."""
    number = fill(place)
    token = place.hub.person("auditor", READ, ALERT, END, PROJECT)
    watch.context.set_extra_http_headers({"Authorization": f"token {token}"})
    page = watch.new_page()
    base = f"{place.url}{PREFIX}"
    page.goto(f"{base}projects/new")
    for name, text in {"id": "genomics", "title": "Genomes", "purpose": "Who has which", "owner": "olga"}.items():
        page.locator(f"[name={name}]").fill(text)
    page.locator("main form button.main").click()
    page.wait_for_url("**/project/genomics")
    page.goto(f"{base}live")
    session = str(page.get_by_role("link", name="alice", exact=True).get_attribute("href")).rpartition("/")[2]
    place.record(NodeGap(session=session, subject=Subject(user="alice")))
    found: list[str] = []
    for path, heading in {
        "live": "Live",
        f"live/end/{session}": "End",
        f"session/{session}": "alice",
        "search?user=alice": "Search",
        "search?since=yesterdayish": "Search",
        "alerts": "Alerts",
        f"alerts/{number}": "Signs of mining",
        "integrity": "Integrity",
        "policy?user=alice&path=/data/genomics/x": "Policy",
        "projects": "Projects",
        "projects/new": "",
        "project/genomics": "Genomes",
        "me": "",
        "nothing-of-ours": "",
    }.items():
        page.goto(f"{base}{path}")
        expect(page.get_by_role("heading", level=1)).to_contain_text(heading)
        page.evaluate(AXE.read_text(encoding="utf-8"))
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # a colour that is on its way is none
            found += [f"{path} ({scheme}): {each}" for each in page.evaluate(COMPLAINTS, "html")]
    assert not found, "\n".join(found)
