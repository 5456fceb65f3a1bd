"""The security console in a real browser, on the real hub: whom it refuses, what it shows, a session that it ends."""

import re
from collections.abc import Iterator
from typing import Literal
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.chromium import PHONE, Watch, browser, overflows, picture
from tests.e2e.demorun import Quickstart

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(600)]

WIDE = {"width": 1280, "height": 640}
REASON = "Copies records of patients to a foreign host"
HOSTILE_REASON = '<img src=x onerror="window.struck=1"><script>window.struck=1</script>'

SLOW_MS = 180_000

expect.set_options(timeout=SLOW_MS)


@pytest.fixture
def quickstart() -> Iterator[Quickstart]:
    started = Quickstart()
    yield started
    started.stop()


@pytest.fixture
def watch() -> Iterator[Watch]:
    with browser() as watch:
        yield watch
        assert watch.hosts() == {"127.0.0.1"}


def of_another_person(watch: Watch, scheme: Literal["light", "dark"] = "light") -> Watch:
    """A second browser: its own cookies."""
    chromium: Browser | None = watch.context.browser
    assert chromium is not None
    context: BrowserContext = chromium.new_context(viewport=WIDE, locale="en-GB", color_scheme=scheme)  # type: ignore[arg-type]
    return Watch(context)


def new_page(watch: Watch) -> Page:
    page = watch.new_page()
    page.set_default_timeout(SLOW_MS)
    return page


def pictures(page: Page, name: str) -> None:
    """As it looks by day, by night, and on a phone; nobody has to scroll sideways."""
    picture(page, name, full_page=True)
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")  # a colour that is on its way is none
    picture(page, f"{name}-dark", full_page=True)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(PHONE)
    assert not overflows(page)
    picture(page, f"{name}-phone", full_page=True)
    page.set_viewport_size(WIDE)


def test_security_staff_see_a_session_and_end_it(watch: Watch, quickstart: Quickstart) -> None:
    link = quickstart.link()
    site = link.partition("/hub/")[0]
    scientist = new_page(watch)
    scientist.goto(link)
    scientist.wait_for_url("**/lab**", wait_until="commit")
    user = scientist.url.split("/")[4]
    status = scientist.goto(f"{site}/user/{user}/api/status")  # the session answers; JupyterLab is not needed for that
    assert status is not None and status.status == 200

    refusal = new_page(watch)
    answer = refusal.goto(f"{site}/services/hpcsec/live")
    assert answer is not None and answer.status == 403
    expect(refusal.get_by_role("alert")).to_contain_text("custom:hpcsec:audit:read")
    picture(refusal, "console-refused")

    staff = of_another_person(watch)
    page = new_page(staff)
    page.goto(quickstart.auditor_link())
    page.wait_for_url("**/services/hpcsec/live")
    row = page.get_by_role("row", name=re.compile(re.escape(user)))
    expect(row).to_contain_text("running")
    pictures(page, "console-live")
    page.get_by_role("textbox", name="User").fill("nobody-of-that-name")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("cell")).to_have_text("No session answers.")
    page.get_by_role("link", name="All", exact=True).click()

    row.get_by_role("link", name=re.compile("End the session")).click()
    page.get_by_role("textbox", name="Reason").fill(HOSTILE_REASON)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text(f"told: “{HOSTILE_REASON}”")).to_be_visible()
    assert page.evaluate("window.struck") is None
    page.get_by_role("link", name="Leave it running").click()
    row.get_by_role("link", name=re.compile("End the session")).click()
    page.get_by_role("textbox", name="Reason").fill(REASON)
    pictures(page, "console-reason")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("End this session?")
    expect(page.get_by_text(f"told: “{REASON}”")).to_be_visible()
    pictures(page, "console-confirm")
    gone = lambda response: response.status >= 500 or response.status == 424  # noqa: E731
    with scientist.expect_response(gone, timeout=SLOW_MS):
        page.get_by_role("button", name="End the session now").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("The session has ended")
        pictures(page, "console-ended")
        scientist.reload(wait_until="commit")
    page.get_by_role("link", name="Live", exact=True).first.click()
    expect(page.get_by_role("row", name=re.compile(re.escape(user)))).to_have_count(0)
    assert staff.complaints == [] and staff.hosts() == {"127.0.0.1"}
    assert quote(user) in scientist.url
    staff.context.close()
