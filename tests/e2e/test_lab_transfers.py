"""Large files in JupyterLab, in a real browser: what is refused, what is cancelled, then a tunnel that is cut."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Request, Route, expect

from tests.e2e.chromium import PATIENCE_MS, PHONE, SIZE, Watch, picture
from tests.e2e.cutting import Torn, Trouble
from tests.e2e.labpage import DONE, LabPage
from tests.e2e.labsite import fresh, watched

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(600)]

expect.set_options(timeout=PATIENCE_MS)
LONG_MS = 4 * PATIENCE_MS

SAVE_HERE = """() => { window.showSaveFilePicker = async ({ suggestedName }) =>
  (await navigator.storage.getDirectory()).getFileHandle(suggestedName, { create: true }) }"""
"""Instead of the dialog for a file's place, which no test can use."""
SAVED = """async name => {
  const file = await (await (await navigator.storage.getDirectory()).getFileHandle(name)).getFile();
  const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
  return [...new Uint8Array(digest)].map(byte => byte.toString(16).padStart(2, "0")).join("");
}"""


@pytest.fixture(scope="module")
def watch() -> Iterator[Watch]:
    """A browser that has logged in to a quickstart."""
    with watched() as watch:
        yield watch


@pytest.fixture
def lab(watch: Watch) -> Iterator[LabPage]:
    """A page of JupyterLab with an empty workspace."""
    with fresh(watch) as lab:
        yield lab


def is_second_piece(request: Request) -> bool:
    """The first is sent at offset 0."""
    return request.method == "PATCH" and request.headers["upload-offset"] != "0"


def test_what_is_read_only_is_refused_with_the_rule_before_anything_is_sent(lab: LabPage, tmp_path: Path) -> None:
    page, pieces = lab.page, []
    page.on("request", lambda request: pieces.append(request.url) if request.method == "PATCH" else None)
    (tmp_path / "refused.bin").write_bytes(os.urandom(2**20))
    lab.item("reference").dblclick()
    expect(lab.item("reference.ipynb")).to_be_visible()
    row = lab.upload(tmp_path / "refused.bin")
    expect(row.get_by_role("status")).to_contain_text("refused.bin may be read but not changed: rule 2 of the access")
    expect(row.get_by_role("status")).to_contain_text("Ask the data desk (desk@site.example) for access.")
    row.get_by_role("button", name="Cancel: refused.bin").click()
    expect(row.get_by_role("status")).to_have_text("Cancelled")
    assert not [url for url in pieces if "transfers" in url]


def test_what_jupyterlab_was_given_is_offered_the_verified_way_and_a_cancel_of_it_is_no_error(
    lab: LabPage, tmp_path: Path
) -> None:
    page = lab.page
    with (tmp_path / "given.bin").open("wb") as file:
        file.truncate(64 * 2**20)

    def meet(route: Route) -> None:
        if is_piece(route.request):
            lab.hold(route)
        else:
            route.continue_()

    page.route("**/transfers/uploads/given.bin?**", meet)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload Files").click()
    chooser.value.set_files(tmp_path / "given.bin")
    with page.expect_request(is_piece):
        page.get_by_role("dialog").get_by_role("button", name="Verified upload").click()
    row = lab.row_of(tmp_path / "given.bin")
    expect(row.get_by_role("status")).to_have_text("Under way")
    with page.expect_response(lambda answer: "/api/contents?content=1" in answer.url):  # what comes last of all
        row.get_by_role("button", name="Cancel: given.bin").click()
    expect(row.get_by_role("status")).to_have_text("Cancelled")
    lab.command("Show Session")  # a dialog would be over the palette
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(lab.item("given.bin")).to_have_count(0)


def is_piece(request: Request) -> bool:
    return request.method == "PATCH" and "/transfers/uploads/" in request.url


def test_an_upload_goes_on_after_its_page_was_closed(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "later.bin").write_bytes(os.urandom(3 * 2**20))
    with fresh(watch) as lab:
        lab.page.route("**/later.bin?**", lambda route: None if is_second_piece(route.request) else route.continue_())
        with lab.page.expect_request(is_second_piece, timeout=LONG_MS):
            lab.upload(tmp_path / "later.bin")
        lab.page.close()
    with fresh(watch) as lab:
        asked: list[Request] = []
        lab.page.on("request", lambda request: asked.append(request) if "later.bin" in request.url else None)
        row = lab.upload(tmp_path / "later.bin")
        expect(row.get_by_role("status")).to_have_text(DONE, timeout=LONG_MS)
    assert "POST" not in [request.method for request in asked]
    pieces = [request.headers["upload-offset"] for request in asked if request.method == "PATCH"]
    assert int(pieces[0]) >= 2**20  # what was held may have gone out when the page was closed


def test_a_large_file_goes_up_and_down_over_a_tunnel_that_is_cut(lab: LabPage, tmp_path: Path) -> None:
    page = lab.page
    data = os.urandom(8 * 2**20)
    digest = hashlib.sha256(data).hexdigest()
    (tmp_path / "large.bin").write_bytes(data)

    # held and paused, reset, and over a tunnel that is cut before and after a piece goes out
    trouble = Trouble(lab)
    page.route("**/transfers/uploads/large.bin?**", trouble.meet)
    with page.expect_request(is_second_piece, timeout=LONG_MS):
        row = lab.upload(tmp_path / "large.bin")
    row.get_by_role("button", name="Pause: large.bin").click()
    expect(row.get_by_role("status")).to_have_text("Paused")
    row.get_by_role("button", name="Resume: large.bin").click()
    expect(row.get_by_role("status")).to_have_text(DONE, timeout=LONG_MS)
    expect(row.get_by_text(digest)).to_have_count(2)
    lab.straighten()
    assert trouble.cuts > 0
    expect(lab.item("large.bin")).to_be_visible()

    # it is not replaced without being asked, nor by cancelling
    again = lab.upload(tmp_path / "large.bin")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(again.get_by_role("status")).to_have_text("Cancelled")

    torn = Torn()
    page.route("**/files/large.bin**", torn.meet)
    page.evaluate(SAVE_HERE)
    lab.item("large.bin").click()
    lab.command("Download (Verified)")
    row = page.get_by_role("listitem", name="Download of large.bin")
    expect(row.get_by_role("status")).to_have_text(DONE, timeout=LONG_MS)
    expect(row.get_by_text(digest)).to_have_count(2)
    assert page.evaluate(SAVED, "large.bin") == digest
    assert torn.ranges[0] == "" and torn.ranges[1].startswith("bytes=")
    lab.straighten()
    is_for_everybody(lab)


def is_for_everybody(lab: LabPage) -> None:
    """Of what is over: readable in both themes, on a telephone, and by the keyboard."""
    page = lab.page
    remove = page.get_by_role("button", name="Remove from this list: large.bin")
    remove.nth(1).press("Enter")  # the cancelled one
    expect(remove).to_have_count(2)
    for theme in ("Dark", "Light"):
        lab.theme(theme)
        assert lab.complaints("#jp-hpcsec-transfers") == []
    page.set_viewport_size({"width": 1200, "height": 760})
    picture(page, "transfers")
    for size in (PHONE, SIZE):
        page.set_viewport_size(size)
        lab.command("Show Session")
        lab.command("Show Transfers")
        lab.fits("jp-hpcsec-transfers")
