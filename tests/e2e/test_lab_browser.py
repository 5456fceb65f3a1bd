"""What JupyterLab shows people of their session, in a real browser: refusals and trouble first, then the calm."""

import hashlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Request, Route, expect

from tests.e2e.chromium import PATIENCE_MS, PHONE, SIZE, Watch, browser, picture
from tests.e2e.cutting import cut
from tests.e2e.demorun import Quickstart
from tests.e2e.labpage import HOSTILE, LabPage

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(400)]

WIDE = {"width": 1200, "height": 760}

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def watch() -> Iterator[Watch]:
    """A browser that has logged in to a quickstart; in the end it must have spoken to this computer alone."""
    quickstart = Quickstart(locked=True)
    try:
        with browser() as watch:
            page = watch.new_page()
            page.goto(quickstart.link())
            page.wait_for_url("**/lab**")
            page.close()
            yield watch
            assert watch.hosts() == {"127.0.0.1"}
            assert [text for text in watch.complaints if "Content Security" in text] == []
    finally:
        quickstart.stop()


@pytest.fixture
def lab(watch: Watch) -> Iterator[LabPage]:
    """A page of JupyterLab with an empty workspace, light, and with nothing bent."""
    page = watch.new_page()
    site = next(url for url in watch.asked if "/user/" in url)
    root = re.match(r"http://[^/]+/user/[^/]+/", site)
    assert root
    page.goto(f"{root[0]}lab?reset")
    lab = LabPage(page)
    expect(lab.status()).to_be_visible()
    yield lab
    lab.straighten()
    page.close()


def test_trouble_on_the_way_is_told_apart_and_so_is_its_end(lab: LabPage) -> None:
    lab.open_panel()
    lab.answer("session", None)
    lab.look_again()
    expect(lab.status()).to_contain_text("Reconnecting…")
    expect(lab.notice("interrupted. Your kernels go on")).to_be_visible()
    expect(lab.panel().get_by_role("button", name="Save all")).to_be_disabled()
    for status, sentence in ((424, "Server stopped"), (403, "Signed out"), (503, "Reconnecting…")):
        lab.straighten()
        lab.answer("session", status)
        lab.look_again()
        expect(lab.status()).to_contain_text(sentence)
        expect(lab.panel().get_by_role("status")).to_have_text(sentence)
    lab.straighten()
    expect(lab.notice("Connected to your session again.")).to_be_visible()
    expect(lab.status()).to_contain_text(" left")


def test_what_is_closed_or_read_only_is_marked_and_a_refusal_names_the_rule_and_whom_to_ask(lab: LabPage) -> None:
    page = lab.page
    page.set_viewport_size(WIDE)
    expect(lab.item("closed").get_by_role("img", name="Closed to you by the access policy")).to_be_visible()
    expect(lab.item("reference").get_by_role("img", name="Read-only")).to_be_visible()
    expect(lab.item("eda.ipynb").locator(".jp-hpcsec-Mark")).to_have_count(0)
    picture(page, "marks")
    lab.item("closed").dblclick()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Your session is not allowed to do this")
    expect(dialog).to_contain_text(
        re.compile(r"closed is closed to you by rule 1 of the access policy \(line \d+, for \*\)")
    )
    expect(dialog).to_contain_text("Ask the data desk (desk@site.example) for access.")
    picture(page, "refusal")
    dialog.get_by_role("button", name="Show what you may touch").click()
    expect(dialog).to_have_count(0)
    expect(lab.section("What you may touch").get_by_role("listitem").filter(has_text="/closed")).to_contain_text(
        "closed"
    )
    expect(lab.section("Need more?")).to_contain_text("the data desk")

    lab.item("reference").dblclick()
    lab.item("reference.ipynb").dblclick()
    expect(page.locator(".jp-NotebookPanel-toolbar").get_by_text("notebook is read-only")).to_be_visible()
    picture(page, "read-only")


def test_hostile_texts_are_shown_and_do_nothing(lab: LabPage) -> None:
    def bend_session(body: dict[str, Any]) -> None:
        stale = {"since": 1, "ends_at": int(time.time()) + 500, "reason": HOSTILE}
        body.update(user=HOSTILE, node=HOSTILE, job=HOSTILE, server=HOSTILE, stale=stale, recorded=[HOSTILE])
        body["protections"] = {HOSTILE: HOSTILE, "files": HOSTILE, "code": HOSTILE}

    def bend_access(body: dict[str, Any]) -> None:
        entry = {"path": f"/{HOSTILE}", "right": HOSTILE, "rule": 1, "line": 1, "who": HOSTILE}
        body["rules"].update(entries=[entry], contact="javascript:window.struck=1")
        body["rules"]["subject"]["project"] = HOSTILE
        body["words"] = [HOSTILE]

    lab.bend("session", bend_session)
    lab.bend("access", bend_access)
    lab.page.reload()
    expect(lab.status()).to_contain_text("<img src=x")
    lab.open_panel()
    lab.panel().get_by_text("What the node enforces").click()
    for name in ("You", "What you may touch", "What protects you", "What is recorded about you"):
        expect(lab.section(name)).to_contain_text("<script>window.struck=1</script>")
    expect(lab.section("Need more?")).to_contain_text("javascript:window.struck=1")
    expect(lab.panel().locator("img, script, a")).to_have_count(0)
    expect(lab.notice("Your access rules have changed")).to_be_visible()
    assert not lab.struck()

    # in a server that no session started there is nothing
    lab.straighten()
    lab.answer("session", 404)
    lab.page.reload()
    expect(lab.page.get_by_role("tab", name="Launcher")).to_be_visible()
    expect(lab.page.get_by_role("tab", name="Session", exact=True)).to_have_count(0)
    expect(lab.status()).to_have_count(0)


def test_an_idle_kernel_on_a_gpu_is_announced_and_can_be_kept(lab: LabPage) -> None:
    kernel = {"id": "k", "notebook": HOSTILE.split(">")[0], "stage": 1, "left_s": 3600, "may_keep_s": 7200}
    lab.bend("gpu", lambda body: body.update(state="ok", limits={"extend_by_s": 3600}, kernels=[kernel]))
    lab.page.reload()
    notice = lab.notice("holds GPU memory and does nothing")
    expect(notice).to_contain_text('In 1 h the kernel of <img src=x onerror="window.struck=1" is shut down')
    picture(lab.page, "gpu-idle")

    def keeps(request: Request) -> bool:
        return request.method == "POST" and "/gpu/keep" in request.url and '"minutes":60' in (request.post_data or "")

    with lab.page.expect_request(keeps):
        notice.get_by_role("button", name="Keep for 1 h").click()
    expect(lab.notice("could not be kept")).to_be_visible()  # there is no such kernel
    assert not lab.struck()


def test_an_end_is_announced_and_everything_can_be_saved(lab: LabPage) -> None:
    page = lab.page
    page.locator(".jp-DirListing-item", has_text="eda.ipynb").dblclick()
    page.locator(".jp-Notebook .jp-CodeCell").last.locator(".cm-content").click()
    page.keyboard.type("# in time")
    stale = {"since": int(time.time()), "ends_at": int(time.time()) + 7200, "reason": "A rule for /data has changed."}
    lab.bend("session", lambda body: body.update(stale=stale))
    lab.look_again()
    expect(lab.notice("Your access rules have changed. This session ends at")).to_be_visible()
    expect(lab.panel()).to_contain_text("A rule for /data has changed.")
    expect(lab.status()).to_have_attribute("data-mood", "now")
    lab.straighten()
    lab.end_in(29 * 60 + 30)
    lab.look_again()
    expect(lab.notice("Your access rules are as they were")).to_be_visible()
    expect(lab.notice("Your job ends in 30 minutes")).to_be_visible()
    expect(lab.status()).to_have_attribute("data-mood", "soon")
    lab.straighten()
    lab.end_in(9 * 60 + 30)
    lab.look_again()
    notice = lab.notice("Your job ends in 10 minutes")
    expect(notice).to_be_visible()
    expect(lab.notice("Your job ends in 30 minutes")).to_have_count(0)
    expect(lab.status()).to_have_attribute("data-mood", "now")
    picture(page, "session-warning")

    def saves(request: Request) -> bool:
        return request.method == "PUT" and "eda.ipynb" in request.url and "in time" in (request.post_data or "")

    with page.expect_request(saves):
        notice.get_by_role("button", name="Save all").click()


def test_the_status_bar_and_the_panel_say_what_the_session_is(lab: LabPage) -> None:
    page = lab.page
    facts = page.request.get(f"{lab.api}session").json()
    expect(lab.status()).to_contain_text(facts["node"])
    expect(lab.status()).to_contain_text(f"job {facts['job']}")
    expect(lab.panel()).to_be_hidden()
    lab.status().focus()
    page.keyboard.press("Enter")
    expect(lab.section("You")).to_contain_text(facts["user"])
    expect(lab.section("You")).to_contain_text(facts["session"])
    expect(lab.section("You")).to_contain_text(re.compile("Certificate.*until .*renewed by itself"))
    expect(lab.section("What you may touch").get_by_role("listitem").first).to_contain_text("read and change")
    expect(lab.section("What protects you")).to_contain_text("Protections are in force")
    expect(lab.section("What is recorded about you")).to_contain_text("When your sessions start and end")
    page.set_viewport_size(WIDE)
    expect(lab.item("reference")).to_be_visible()
    expect(page.locator(".jp-LauncherCard").first).to_be_visible()
    picture(page, "session")
    lab.panel().get_by_text("What the node enforces").press("Enter")
    expect(lab.section("What protects you")).to_contain_text("Landlock ABI")
    lab.command("Theme: JupyterLab Dark")
    expect(page.locator("body")).to_have_attribute("data-jp-theme-light", "false")
    picture(page, "session-dark")
    lab.command("Theme: JupyterLab Light")
    expect(page.locator("body")).to_have_attribute("data-jp-theme-light", "true")
    for size in (PHONE, SIZE):
        page.set_viewport_size(size)
        page.wait_for_function(FITS)


FITS = """() => {
  const panel = document.getElementById("jp-hpcsec-session");
  return panel.clientWidth > 0 && panel.scrollWidth <= panel.clientWidth;
}"""


def test_the_palette_opens_the_panel_and_an_open_panel_is_open_again(lab: LabPage) -> None:
    with lab.page.expect_request(is_workspace_with_panel):
        lab.command("Show Session")
        expect(lab.section("You")).to_be_visible()
    lab.page.goto(lab.page.url.split("?")[0])
    expect(lab.section("You")).to_be_visible()


def is_workspace_with_panel(request: Request) -> bool:
    """JupyterLab saves its layout, with our panel in it."""
    return "/api/workspaces" in request.url and request.method == "PUT" and "jp-hpcsec" in (request.post_data or "")


def test_a_large_file_goes_up_and_down_over_a_tunnel_that_is_cut(lab: LabPage, tmp_path: Path) -> None:
    page = lab.page
    data = os.urandom(24 * 2**20)
    digest = hashlib.sha256(data).hexdigest()
    (tmp_path / "large.bin").write_bytes(data)
    lab.item("reference").dblclick()
    expect(lab.item("reference.ipynb")).to_be_visible()
    row = upload(lab, tmp_path / "large.bin")
    expect(row.get_by_role("status")).to_contain_text("large.bin may be read but not changed: rule 2 of the access")
    row.get_by_role("button", name="Cancel: large.bin").click()
    expect(row.get_by_role("status")).to_have_text("Cancelled")
    page.locator(".jp-BreadCrumbs-home").click()
    expect(lab.item("reference")).to_be_visible()

    pieces = 0

    def trouble(route: Route) -> None:
        nonlocal pieces
        is_piece = route.request.method == "PATCH"
        pieces += is_piece
        if is_piece and pieces == 2:
            route.abort("connectionreset")
            return
        route.continue_()
        if is_piece and pieces in {3, 4}:
            cuts.append(cut())

    cuts: list[int] = []
    page.route("**/transfers/uploads/large.bin?**", trouble)
    row = upload(lab, tmp_path / "large.bin")
    expect(row.get_by_role("status")).to_have_text("Done: SHA-256 is equal at both ends", timeout=3 * PATIENCE_MS)
    expect(row.get_by_text(digest)).to_have_count(2)
    picture(page, "transfers")
    page.unroute("**/transfers/uploads/large.bin?**")
    assert sum(cuts) > 0
    expect(lab.item("large.bin")).to_be_visible()

    # it is not replaced without being asked, nor by cancelling
    upload(lab, tmp_path / "large.bin")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("region", name="Transfers").get_by_text("Cancelled")).to_have_count(2)

    page.evaluate(
        """() => { window.showSaveFilePicker = async ({ suggestedName }) =>
            (await navigator.storage.getDirectory()).getFileHandle(suggestedName, { create: true }) }"""
    )
    lab.item("large.bin").click()
    lab.command("Download (Verified)")
    row = page.get_by_role("listitem", name="Download of large.bin")
    expect(row.get_by_role("status")).to_have_text("Done: SHA-256 is equal at both ends", timeout=3 * PATIENCE_MS)
    expect(row.get_by_text(digest)).to_have_count(2)
    size = page.evaluate(
        """async () => (await (await (await navigator.storage.getDirectory())
            .getFileHandle("large.bin")).getFile()).size"""
    )
    assert size == len(data)


def upload(lab: LabPage, path: Path) -> Locator:
    """Have a file uploaded by the command; its row in the panel."""
    with lab.page.expect_file_chooser() as chooser:
        lab.command("Upload Large File")
    chooser.value.set_files(path)
    return lab.page.get_by_role("listitem", name=f"Upload of {path.name}").first
