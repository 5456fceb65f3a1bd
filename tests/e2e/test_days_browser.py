"""Two days on the real stack, in two browsers: a data scientist's, and that of who looks after security."""

import hashlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

from tests.e2e.chromium import Watch, browser
from tests.e2e.demorun import Quickstart
from tests.e2e.labpage import DONE, LabPage
from tests.e2e.test_console_browser import of_another_person
from tests.e2e.wire import Wire

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(1800)]

SLOW_MS = 180_000
UPLOAD_MIB = int(os.environ.get("HPCSEC_UPLOAD_MIB", "12"))
"""Of the file that is uploaded while the tunnel is cut."""
USER = "ada"
NOTEBOOK = "eda.ipynb"
TABLE = "cohort.csv"
REASON = "Copies records of patients to a foreign host"
GATEWAY = re.compile(r"waits for jobs on 127\.0\.0\.1:([0-9]+)")


@dataclass
class Day:
    """One stack, the way from its job to its gateway, and who uses it."""

    quickstart: Quickstart
    wire: Wire
    watch: Watch
    """The data scientist's browser."""
    lab: LabPage


@pytest.fixture(scope="module")
def day() -> Iterator[Day]:
    """A stack, and a data scientist who has logged in and chosen; at the end both browsers spoke to it alone."""
    expect.set_options(timeout=SLOW_MS)
    wire = Wire()
    quickstart = Quickstart(gpus=2, dial=f"127.0.0.1:{wire.port}")
    try:
        link = quickstart.link()
        (gateway,) = (found[1] for line in quickstart.lines if (found := GATEWAY.search(line)))
        wire.lead(int(gateway))
        with browser() as watch:
            page = patient(watch)
            page.goto(link)
            choose(page)
            lab = LabPage(page)
            expect(lab.status()).to_be_visible()
            yield Day(quickstart, wire, watch, lab)
            assert watch.hosts() == {"127.0.0.1"}
            assert [text for text in watch.complaints if "Content Security" in text] == []
    finally:
        quickstart.stop()
        wire.close()


def patient(watch: Watch) -> Page:
    page = watch.new_page()
    page.set_default_timeout(SLOW_MS)
    return page


def choose(page: Page) -> None:
    """On the spawn page: what for, what with, and what will be recorded; then wait for JupyterLab."""
    expect(page.get_by_label("A first look at hpcsec")).to_be_enabled()
    expect(page.get_by_text("Only you can reach it")).to_be_visible()
    page.get_by_label("A first look at hpcsec").check()
    page.get_by_label("One node with GPUs").check()
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/lab**")


def run(page: Page, source: str, answer: str) -> None:
    """Run it in the notebook's last cell, and see the answer."""
    page.locator(".jp-Notebook .jp-CodeCell").last.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(source)
    page.keyboard.press("Shift+Enter")
    expect(page.locator(".jp-Notebook .jp-OutputArea-output").filter(has_text=answer)).to_be_visible()


def is_idle(page: Page) -> None:
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog")


def test_a_data_scientists_day(day: Day, tmp_path: Path) -> None:
    page, lab = day.lab.page, day.lab
    page.set_viewport_size({"width": 1200, "height": 760})
    lab.item(NOTEBOOK).dblclick()
    is_idle(page)
    lab.command("Show GPUs")  # while it is looked at, the panel is told of each sample
    hold = "from jupyter_hpcsec.gpu.standin import hold; hold(30)"
    run(page, f"held = 41\n{hold}\nprint('held:', held)", "held: 41")
    expect(lab.gpus()).to_contain_text("30 GiB of 80 GiB")

    a_refused_file(lab)
    lab.command("Show GPUs")
    warning = lab.notice(f"the kernel of {NOTEBOOK} is shut down")
    expect(warning).to_contain_text("Simulated GPU: In 2 h")
    warning.get_by_role("button", name="Keep for 1 h").click()
    expect(warning).to_have_count(0)
    expect(lab.gpus()).to_contain_text(re.compile("Kept for (1 h|5[0-9] min)"))

    the_tunnel_is_lost_for_a_while(day)
    a_large_file_goes_up_over_a_cut(day, tmp_path / "scans.bin")
    run(page, "print('once more:', held + 2)", "once more: 43")
    expect(dialog(page)).to_have_count(0)


def a_refused_file(lab: LabPage) -> None:
    lab.item("closed").dblclick()
    expect(dialog(lab.page)).to_contain_text(re.compile(r"closed to you by rule 1 of the access policy"))
    expect(dialog(lab.page)).to_contain_text("Ask the data desk (desk@site.example) for access.")
    dialog(lab.page).get_by_role("button", name="Show what you may touch").click()
    expect(dialog(lab.page)).to_have_count(0)


def the_tunnel_is_lost_for_a_while(day: Day) -> None:
    """Until JupyterLab has noticed. It does not offer to restart the server, which nobody wants who can wait."""
    lab = day.lab
    day.wire.cut()
    lab.look_again()
    expect(lab.status()).to_contain_text("Reconnecting…")
    expect(lab.notice("interrupted. Your kernels go on")).to_be_visible()
    expect(dialog(lab.page)).to_have_count(0)
    day.wire.mend()
    expect(lab.notice("interrupted. Your kernels go on")).to_have_count(0)
    expect(lab.status()).to_contain_text(" left")
    run(lab.page, "print('still:', held + 1)", "still: 42")
    expect(dialog(lab.page)).to_have_count(0)


def a_large_file_goes_up_over_a_cut(day: Day, path: Path) -> None:
    """The tunnel is lost when a piece is on its way from the middle on, and comes back; the file goes on by itself."""
    page, lab = day.lab.page, day.lab
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(UPLOAD_MIB):
            block = os.urandom(2**20)
            digest.update(block)
            file.write(block)
    cuts: list[str] = []

    def meet(route: Route) -> None:
        offset = route.request.headers.get("upload-offset", "0")
        if not cuts and 2 * int(offset) >= UPLOAD_MIB * 2**20:
            cuts.append(offset)
            day.wire.cut()
        route.continue_()

    pieces = f"**/transfers/uploads/{path.name}?**"
    page.route(pieces, meet)
    row = lab.upload(path)
    is_slow = SLOW_MS + UPLOAD_MIB * 500
    expect(row.get_by_role("status")).to_contain_text("Interrupted; goes on by itself", timeout=is_slow)
    page.unroute(pieces)
    day.wire.mend()
    expect(row.get_by_role("status")).to_have_text(DONE, timeout=is_slow)
    expect(row.get_by_text(digest.hexdigest())).to_have_count(2)
    assert len(cuts) == 1
    lab.straighten()
    expect(lab.item(path.name)).to_be_visible()


def test_a_security_officers_day(day: Day, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_file_is_downloaded(day)
    staff = of_another_person(day.watch)
    page = patient(staff)
    page.goto(day.quickstart.auditor_link())
    page.wait_for_url("**/services/hpcsec/live")

    session = who_downloaded_it(page)
    what_happened(page, tmp_path)
    is_it_true(page)
    seconds = it_is_ended(day, page, session)
    with capsys.disabled():
        print(f"\n    from the order in the console to the closed websocket in the other browser: {seconds:.2f} s")
    assert staff.complaints == [] and staff.hosts() == {"127.0.0.1"}
    staff.context.close()


def a_file_is_downloaded(day: Day) -> None:
    page, lab = day.lab.page, day.lab
    lab.item(NOTEBOOK).dblclick()
    is_idle(page)
    run(page, f"open('{TABLE}', 'w').write('id,age\\n' * 3)", "21")
    lab.item(TABLE).click(button="right")
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="Download", exact=True).click()
    assert download.value.path().read_text() == "id,age\n" * 3


def who_downloaded_it(page: Page) -> str:
    """The session in which it was."""
    page.get_by_role("link", name="Search", exact=True).click()
    page.get_by_label("Path").fill(TABLE)
    page.get_by_label("Kind").fill("file.downloaded")
    page.get_by_role("button", name="Search").click()
    row = page.get_by_role("row").filter(has_text=TABLE)
    expect(row).to_have_count(1)
    expect(row).to_contain_text(USER)
    expect(row).to_contain_text("file.downloaded")
    row.get_by_role("cell").get_by_role("link").click()
    page.wait_for_url("**/session/*")
    found = re.search(r"/session/([0-9a-f]{32})", page.url)
    assert found
    return found[1]


def what_happened(page: Page, directory: Path) -> None:
    """The timeline, and the replay, which is a notebook."""
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"Session of {USER}")
    expect(page.locator(".timeline")).to_contain_text(TABLE)
    with page.expect_download() as download:
        page.get_by_role("button", name="Replay as a notebook").click()
    download.value.save_as(directory / "replay.ipynb")
    notebook = nbformat.read(directory / "replay.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert any(TABLE in cell.source for cell in notebook.cells if cell.cell_type == "code")


def is_it_true(page: Page) -> None:
    page.get_by_role("link", name="Integrity", exact=True).click()
    page.get_by_role("button", name="Verify the record").click()
    expect(page.get_by_text("The record holds.")).to_be_visible()


def it_is_ended(day: Day, page: Page, session: str) -> float:
    """Seconds from the order, which leaves the one browser, to the end of the kernel's websocket in the other."""
    ordered: list[float] = []
    closed: list[float] = []
    kernels = [each for each in day.watch.sockets if "/api/kernels/" in each.url and not each.is_closed()]
    assert kernels
    for each in kernels:
        each.on("close", lambda _: closed.append(time.monotonic()))

    def note(request: Request) -> None:
        if request.method == "POST" and f"live/end/{session}" in request.url:
            ordered.append(time.monotonic())

    page.get_by_role("link", name="Live", exact=True).click()
    page.get_by_role("row").filter(has_text=USER).get_by_role("link", name="End the session").click()
    page.get_by_label("Reason").fill(REASON)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("End this session?")
    expect(page.get_by_text(f"told: “{REASON}”")).to_be_visible()
    page.on("request", note)
    page.get_by_role("button", name="End the session now").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("The session has ended")
    told = dialog(day.lab.page).filter(has_text=REASON).first
    expect(told).to_be_visible()
    expect(told).not_to_contain_text("auditor")  # who it was is not the user's to read: show_readers is off
    page.get_by_role("link", name="Live", exact=True).first.click()
    expect(page.get_by_role("row").filter(has_text=USER)).to_have_count(0)
    for each in kernels:
        if not each.is_closed():
            each.wait_for_event("close", timeout=SLOW_MS)
    assert len(ordered) == 1 and len(closed) == len(kernels)
    return max(closed) - ordered[0]
