"""A person's way through the quickstart in a real browser: every page on it, and every refusal, as it is seen."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, WebSocket, expect

from jupyter_hpcsec.hub.onetime import CLOSED, USED
from tests.e2e.chromium import PATIENCE_MS, PHONE, SIZE, Watch, browser, overflows, picture
from tests.e2e.demorun import Quickstart

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(400)]

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture
def watch() -> Iterator[Watch]:
    """A browser; in the end it must have spoken to this computer alone, and our pages must be without fault."""
    with browser() as watch:
        yield watch
        assert watch.hosts() == {"127.0.0.1"}
        assert watch.complaints_of_ours() == []


@pytest.fixture
def start() -> Iterator[Callable[..., Quickstart]]:
    """Starts quickstarts; each must end cleanly."""
    started: list[Quickstart] = []

    def run(**options: Any) -> Quickstart:
        started.append(Quickstart(**options))
        return started[-1]

    yield run
    for quickstart in started:
        quickstart.stop()


def menu(page: Page, *path: str) -> None:
    for name in path:
        page.get_by_role("menuitem", name=name, exact=True).click()


def refused(page: Page, url: str, sentence: str) -> None:
    """Open a page that must be a refusal with this sentence, in the hub's own frame."""
    response = page.goto(url)
    assert response is not None and response.status == 403
    expect(page.locator("#hpcsec-sentence")).to_contain_text(sentence)
    expect(page.locator(".navbar")).to_be_visible()


def run_cell(page: Page, source: str) -> None:
    """Type into the last cell of the open notebook and run it."""
    page.locator(".jp-Notebook .jp-CodeCell").last.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.type(source)
    page.keyboard.press("Shift+Enter")


def outputs(page: Page) -> Locator:
    return page.locator(".jp-Notebook .jp-OutputArea-output")


def is_idle(page: Page) -> None:
    """The notebook's kernel is there and waits."""
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()


def kernel_socket(watch: Watch) -> WebSocket:
    return next(socket for socket in watch.sockets if re.search(r"/api/kernels/[^/]+/channels", socket.url))


def test_a_first_session(watch: Watch, start: Callable[..., Quickstart], tmp_path: Path) -> None:
    quickstart = start()
    link = quickstart.link()
    site = link.partition("/hub/")[0]
    page = watch.new_page()
    refused(page, site, CLOSED)
    picture(page, "login")
    refused(page, link[:-1], USED)

    page.goto(link)
    page.wait_for_url("**/lab**")
    user = page.url.split("/")[4]
    page.locator(".jp-DirListing-item", has_text="eda.ipynb").dblclick()
    is_idle(page)
    menu(page, "Run", "Run All Cells")
    expect(outputs(page).filter(has_text="0.9629")).to_be_visible()
    expect(outputs(page).locator("img")).to_be_visible()
    outputs(page).locator("img").scroll_into_view_if_needed()
    picture(page, "lab")
    expect(page.get_by_text("Jupyter news")).to_have_count(0)

    a_terminal_and_a_download(page, tmp_path)
    page.get_by_role("tab", name="eda.ipynb").click()
    run_cell(page, "answer = 6 * 7")
    is_idle(page)

    out_and_in_again(watch, quickstart, page, link)
    run_cell(page, "print('the answer is still', answer)")
    expect(outputs(page).filter(has_text="the answer is still 42")).to_be_visible()

    the_server_is_stopped(watch, page, f"{site}/user/{user}/lab")


def a_terminal_and_a_download(page: Page, directory: Path) -> None:
    page.get_by_role("tab", name="Launcher").click()
    page.locator(".jp-LauncherCard", has_text="Terminal").click()
    page.locator(".jp-Terminal").click()
    page.keyboard.type("expr 6 \\* 7 > typed.txt\n")
    item = page.locator(".jp-DirListing-item", has_text="typed.txt")
    item.click(button="right")
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="Download", exact=True).click()
    download.value.save_as(directory / "typed.txt")
    assert (directory / "typed.txt").read_text() == "42\n"


def out_and_in_again(watch: Watch, quickstart: Quickstart, page: Page, link: str) -> None:
    """A logout in another tab cuts the notebook's websocket; a login brings everything back."""
    socket, other = kernel_socket(watch), watch.new_page()
    refused(other, link, USED)
    picture(other, "used")
    other.get_by_role("button", name="Go on").click()
    assert not socket.is_closed()
    with socket.expect_event("close"):
        other.get_by_role("button", name="Logout").click()
    expect(other.locator("#hpcsec-sentence")).to_contain_text(CLOSED)
    # JupyterLab knows no word for a refusal: it calls the kernel disconnected, or dead
    expect(page.get_by_text(re.compile(r"Python 3 \(ipykernel\) \| (Disconnected|Dead|Unknown)"))).to_be_visible()
    picture(page, "logged-out")
    refused(other, page.url, CLOSED)
    other.goto(quickstart.link())
    other.wait_for_url("**/lab**")
    other.close()
    page.reload()
    is_idle(page)


def the_server_is_stopped(watch: Watch, page: Page, lab: str) -> None:
    with watch.context.expect_page() as opened:
        menu(page, "File", "Hub Control Panel")
    home = opened.value
    home.wait_for_load_state("networkidle")  # its button does nothing before its script is there
    home.get_by_role("button", name="Stop My Server").click()
    expect(home.get_by_role("button", name="Start My Server")).to_be_visible()
    expect(page.get_by_role("dialog")).to_contain_text("does not run any more")
    home.goto(lab)
    expect(home.get_by_role("heading")).to_contain_text("Server not running")
    picture(home, "stopped")


def propose_projects(quickstart: Quickstart) -> None:
    """Beside the demonstration's own: one whose review is near, and one that nobody has approved."""
    soon = str(datetime.now(UTC).date() + timedelta(days=20))
    purpose = "Which variants stand behind rare diseases.\nData of the first cohort only."
    quickstart.hpcsec(
        *("project", "propose", "variants", "--title", "Rare variants", "--purpose", purpose, "--owner", "ada"),
        *("--on-behalf", "ada"),
    )
    quickstart.hpcsec("project", "approve", "variants", "--review-on", soon)
    quickstart.hpcsec(
        *("project", "propose", "proteins", "--title", "Proteins", "--purpose", "How they fold."),
        *("--owner", "grace", "--user", "ada"),
    )


def test_the_profile_form(watch: Watch, start: Callable[..., Quickstart], tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    page = watch.new_page()
    quickstart = start(profiles=True, hold=hold)
    link = quickstart.link()
    propose_projects(quickstart)
    page.goto(link)
    expect(page.get_by_label("A first look at hpcsec")).to_be_enabled()
    expect(page.get_by_label("Proteins")).to_be_disabled()
    expect(page.get_by_text("Review soon.")).to_be_visible()
    expect(page.get_by_text("Would start: at once")).to_have_count(2)
    expect(page.get_by_text("Only you can reach it")).to_be_visible()
    page.get_by_label("Rare variants").check()
    expect(page.get_by_label("CPU cores")).to_have_count(2)
    expect(page.get_by_label("CPU cores").first).to_be_enabled()
    expect(page.get_by_label("CPU cores").last).to_be_disabled()
    for size in (PHONE, SIZE):
        page.set_viewport_size(size)
        assert not overflows(page)
        picture(page, f"form-{size['width']}", full_page=True)

    page.get_by_label("One node with GPUs").check()
    picture(page, "form", full_page=True)
    page.emulate_media(color_scheme="dark")
    picture(page, "form-dark", full_page=True)
    page.emulate_media(color_scheme="light")
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    quickstart.hpcsec("project", "propose", "proteins", "--title", evil, "--purpose", evil, "--owner", "ada")

    # a project that was forged is no project, whatever it is called
    page.get_by_label("Rare variants").evaluate("(input) => { input.value = '../../etc'; }")
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".spawn-error-msg")).to_contain_text("There is no project of this name")
    expect(page.get_by_label("alert(2)")).to_be_disabled()
    expect(page.locator("form img")).to_have_count(0)
    page.get_by_label("Rare variants").check()
    page.get_by_label("One node with GPUs").check()

    # a browser whose form was tampered with, as a script would: the server refuses, and nothing typed is lost
    cpus = page.get_by_label("CPU cores").last
    cpus.evaluate("(input) => { input.max = ''; input.form.noValidate = true; }")
    cpus.fill("999")
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".spawn-error-msg")).to_have_text("Error: CPU cores must be from 1 to 64 in this profile.")
    expect(page.get_by_label("One node with GPUs")).to_be_checked()
    expect(cpus).to_have_value("999")
    expect(cpus).to_have_attribute("aria-invalid", "true")
    picture(page, "form-error")

    # a wrong number in a profile that is not chosen is nobody's trouble
    page.get_by_label("Small").check()
    page.get_by_label("Memory (GiB)").fill("4")
    page.get_by_label("One node with GPUs").check()
    cpus.fill("65")
    assert cpus.get_attribute("aria-invalid") is None
    page.get_by_label("Small").check()
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#progress-message")).to_contain_text("Your job runs on")
    page.locator("#progress-details summary").click()
    expect(page.locator(".progress-log-event", has_text="Your job runs on")).to_be_visible()
    picture(page, "progress")
    (session,) = json.loads(quickstart.hpcsec("session", "list", "--json"))
    assert session["project"] == "variants"
    hold.unlink()
    page.wait_for_url("**/lab**")
    quickstart.hpcsec("project", "close", "variants", "--reason", "published")  # what has begun goes on
    (session,) = json.loads(quickstart.hpcsec("session", "list", "--json"))
    assert session["state"] == "ready"
