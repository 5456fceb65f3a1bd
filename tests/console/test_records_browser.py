"""Session, Search and Me in a browser without scripts: light, dark, on a phone, by keyboard, with hostile text."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

from jupyter_hpcsec.audit.events import Object, Subject
from jupyter_hpcsec.audit.kinds.gateway import AdminCalled
from jupyter_hpcsec.audit.kinds.gpu import GpuUse
from jupyter_hpcsec.audit.kinds.hub import HubLogin
from jupyter_hpcsec.audit.kinds.kernels import CellExecuted, KernelReply, KernelStarted
from jupyter_hpcsec.audit.kinds.node import NodeAccessRefused, NodeServerStarted
from jupyter_hpcsec.audit.kinds.requests import FileDownloaded, FileRead, FileWritten
from jupyter_hpcsec.audit.kinds.sessions import SessionBound, SessionEnded, SessionEnrolled, SessionRegistered
from jupyter_hpcsec.audit.kinds.terminals import TerminalInput, TerminalOpened
from jupyter_hpcsec.console.page import READ
from tests.console.conftest import PREFIX, Place
from tests.console.payloads import PAYLOADS
from tests.e2e.chromium import CHROMIUM, OPTIONS, PATIENCE_MS, PHONE

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

ONE, TWO = "4bf9c2d1" + "a0" * 12, "b2" * 16
WIDE = {"width": 1200, "height": 860}
RECEIPT = '{"enforcement":"required","landlock_abi":7,"files":"54 roots, root directory of its own, Landlock"}'


def fill(place: Place) -> None:
    about: dict[str, Any] = {"subject": Subject(user="alice"), "session": ONE, "job": "4711", "node": "gpu-node-3"}
    note = place.log.note
    note(HubLogin(subject=Subject(login="alice", user="alice"), source="192.0.2.7"), "hub")
    note(SessionRegistered(**about, lifetime_s=28_800, policy="9f" * 32), "gateway")
    note(SessionBound(**about), "gateway")
    note(SessionEnrolled(**about, serial="7a"), "gateway")
    note(NodeServerStarted(**about, facts=RECEIPT), "node")
    note(KernelStarted(**about, kernel="k1", object=Object(type="file", name="survival.ipynb")), "gateway")
    file = Object.of_path(b"genomics/cohort.csv", 1_482_113, "ef" * 32)
    note(FileRead(**about, object=file, source="192.0.2.7"), "gateway")
    code = b"import pandas as pd\n\nframe = pd.read_csv('genomics/cohort.csv')\nframe.groupby('site').size()"
    place.log.record(CellExecuted(**about, kernel="k1", object=Object(size=len(code))), "gateway", {"source": code})
    note(KernelReply(**about, kernel="k1", status="ok", execution_count=1, duration_ms=812), "gateway")
    denied = Object.of_path(b"genomics/consented-only/names.csv")
    note(NodeAccessRefused(**about, object=denied, decision="refused", rule="access.deny", reason="closed"), "node")
    for number in range(6):
        idle = 60 * number
        note(
            GpuUse(**about, kernel="k1", notebook="survival.ipynb", span_s=300, used_s=300 - idle, held_s=idle), "node"
        )
    note(GpuUse(**about, kernel="k2", span_s=300, unknown_s=300, memory=2 << 30, simulated=True), "node")
    place.log.record(TerminalInput(**about, terminal="1"), "gateway", {"input": b"tar czf out.tgz genomics\x1b[A\r"})
    note(
        FileDownloaded(**about, object=Object.of_path("gnp.\u202eexe".encode(), 20_480), source="192.0.2.7"), "gateway"
    )
    note(FileWritten(**about, object=Object.of_path(b"results/model.bin", 734_003_200), decision="allowed"), "gateway")
    note(
        AdminCalled(subject=Subject(user="ada", account="uid 990"), session=ONE, call="end", reason="case 7"), "gateway"
    )
    note(SessionEnded(**about, reason="suspended, please call security"), "gateway")
    hostile: dict[str, Any] = {"subject": Subject(user="<b>x</b>"), "session": TWO}
    note(SessionRegistered(**hostile), "gateway")
    note(TerminalOpened(**hostile, terminal="1"), "gateway")
    for payload in PAYLOADS:
        sealed = {"source": payload.encode()}
        place.log.record(CellExecuted(**hostile, reason=payload, object=Object(name=payload)), "gateway", sealed)
    place.record(SessionEnded(**hostile, reason="over"))


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        yield browser
        await browser.close()


async def opened(place: Place, chromium: Browser, name: str, *scopes: str, **options: Any) -> Page:
    """A page of somebody who is known by a token, without scripts."""
    headers = {"Authorization": f"token {place.hub.person(name, *scopes)}"}
    context = await chromium.new_context(java_script_enabled=False, extra_http_headers=headers, **options)
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    return page


async def test_the_pages_about_the_record(place: Place, chromium: Browser) -> None:
    fill(place)
    paths = {
        "console-session": f"session/{ONE}",
        "console-timeline": f"session/{ONE}#timeline",
        "console-search": "search?user=alice&kind=file.*&since=2020-01-01",
        "console-me": "me",
    }
    for name, path in paths.items():
        for scheme, size in (("light", WIDE), ("dark", WIDE), ("light", PHONE)):
            who = "alice" if path == "me" else "ada"
            page = await opened(place, chromium, who, READ, viewport=size, color_scheme=scheme)
            await page.goto(f"{place.url}{PREFIX}{path}")
            assert await page.locator("h1").count() == 1
            room = await page.locator("html").bounding_box()
            assert room is not None and room["width"] <= size["width"]
            shown = name if (scheme, size) == ("light", WIDE) else f"{name}-{'phone' if size is PHONE else scheme}"
            if directory := os.environ.get("HPCSEC_SCREENSHOTS"):
                await page.screenshot(path=Path(directory) / f"{shown}.png")
            await page.context.close()


async def test_by_keyboard(place: Place, chromium: Browser) -> None:
    fill(place)
    page = await opened(place, chromium, "ada", READ, viewport=WIDE)
    await page.goto(f"{place.url}{PREFIX}search")
    await page.get_by_label("User", exact=True).focus()
    await page.keyboard.type("alice")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/search?user=alice*")
    await page.get_by_role("link", name="4bf9c2d1").first.focus()
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/session/{ONE}?from=*")
    assert await page.get_by_role("heading", name="Timeline").count() == 1


async def test_hostile_text_makes_nothing_in_a_browser(place: Place, chromium: Browser) -> None:
    fill(place)
    page = await opened(place, chromium, "ada", READ, viewport=WIDE)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for path in (f"session/{TWO}", "search?kind=cell.*"):
        await page.goto(f"{place.url}{PREFIX}{path}")
        found = await page.locator(
            "script, img, iframe, main form[action*=evil], main a[href*=evil], main style"
        ).count()
        assert found == 0
        assert await page.get_by_text("<script>alert(1)</script>").count() > 0
    assert all(url.startswith(place.url) for url in asked)


@pytest.mark.parametrize("opener", ["same-origin", "noopener-allow-popups", "unsafe-none"])
async def test_a_page_of_the_same_host_that_is_not_the_consoles_gets_nothing_of_it(
    place: Place, chromium: Browser, opener: str
) -> None:
    """A user's own server has such pages, where the hub gives users no host names of their own."""
    ada, live, here = place.visitor("ada", READ), f"{place.url}{PREFIX}live", f"{place.url}/user/alice/"
    await ada.get("live")
    context = await chromium.new_context()
    cookies = [(cookie.name, cookie.value or "") for cookie in ada.client.cookies.jar]
    await context.add_cookies([{"name": name, "value": value, "url": live} for name, value in cookies])
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    headers = {"Content-Type": "text/html", "Cross-Origin-Opener-Policy": opener}
    await page.route(f"{here}**", lambda route: route.fulfill(headers=headers, body="<p>Look at this"))
    await page.goto(here)
    assert await page.evaluate("async (url) => (await fetch(url)).status", live) == 403
    async with context.expect_page() as opening:
        await page.evaluate("(url) => { window.other = window.open(url); }", live)
    opened_page = await opening.value
    assert await opened_page.title() == "Live · hpcsec"
    assert await page.evaluate("() => window.other.closed"), "the page that opened it has hold of it"
