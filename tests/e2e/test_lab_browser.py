"""What JupyterLab shows people of their session, in a real browser: refusals and trouble first, then the calm."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Request, Response, expect

from tests.e2e.chromium import PATIENCE_MS, PHONE, SIZE, Watch, picture
from tests.e2e.labpage import HOSTILE, LabPage
from tests.e2e.labsite import fresh, watched

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(400)]

WIDE = {"width": 1200, "height": 760}
ZOOMED = {"width": 600, "height": 380}
"""What is left of it at 200 %."""

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def watch() -> Iterator[Watch]:
    """A browser that has logged in to a quickstart; in the end it must have spoken to this computer alone."""
    with watched(gpus=2) as watch:
        yield watch


@pytest.fixture
def lab(watch: Watch) -> Iterator[LabPage]:
    """A page of JupyterLab with an empty workspace, light, and with nothing bent."""
    with fresh(watch) as lab:
        yield lab


def test_trouble_on_the_way_is_told_apart_and_so_is_its_end(lab: LabPage) -> None:
    dialog = lab.page.get_by_role("dialog")
    lab.open_panel()
    # JupyterLab asks and is not answered: nobody is offered to restart what is only to be waited for
    with lab.page.expect_response(lambda response: response.status == 503):
        lab.page.route("**/api/sessions*", lambda route: route.fulfill(status=503))
    lab.answer("session", None)
    lab.look_again()
    expect(lab.status()).to_contain_text("Reconnecting…")
    expect(dialog).to_have_count(0)
    expect(lab.notice("interrupted. Your kernels go on")).to_be_visible()
    expect(lab.panel().get_by_role("button", name="Save all")).to_be_disabled()
    for status, sentence in ((424, "Server stopped"), (403, "Signed out"), (503, "Reconnecting…")):
        lab.straighten()
        lab.answer("session", status)
        lab.look_again()
        expect(lab.status()).to_contain_text(sentence)
        if status == 424:
            expect(dialog).to_contain_text("Your session has ended")
            expect(dialog.get_by_role("button", name="Restart")).to_be_visible()
            assert lab.complaints(".jp-Dialog-content") == []
            dialog.get_by_role("button", name="Dismiss").click()
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
    assert lab.complaints(".jp-hpcsec-Refusal .jp-Dialog-content", ".jp-DirListing-content .jp-hpcsec-Mark") == []
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
        body.update(user=HOSTILE, node=HOSTILE, job=HOSTILE, server=HOSTILE, stale=stale, recorded=[])
        body.update(recorded=[{"code": HOSTILE, "text": HOSTILE}], records="javascript:window.struck=1")
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


def test_an_end_is_announced_and_everything_can_be_saved(lab: LabPage) -> None:
    page = lab.page
    page.locator(".jp-DirListing-item", has_text="eda.ipynb").dblclick()
    page.locator(".jp-Notebook .jp-CodeCell").first.locator(".cm-content").click()
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
    recorded = lab.section("What is recorded about you")
    expect(recorded).to_contain_text("When your sessions start and end")
    page.set_viewport_size(WIDE)
    expect(lab.item("reference")).to_be_visible()
    expect(page.locator(".jp-LauncherCard").first).to_be_visible()
    picture(page, "session")
    expect(lab.section("Need more?").get_by_role("link", name="desk@site.example")).to_be_visible()
    with page.context.expect_page() as opened:
        recorded.get_by_role("link", name="Read your own records").press("Enter")
    expect(opened.value.get_by_role("heading", name="What is recorded of me")).to_be_visible()
    opened.value.close()
    picture(page, "session-recorded")
    lab.panel().get_by_text("What the node enforces").press("Enter")
    expect(lab.section("What protects you")).to_contain_text("Landlock ABI")
    lab.theme("Dark")
    picture(page, "session-dark")
    assert lab.complaints("#jp-hpcsec-session", ".jp-hpcsec-Status") == []
    lab.theme("Light")
    assert lab.complaints("#jp-hpcsec-session", ".jp-hpcsec-Status") == []
    page.set_viewport_size(PHONE)
    lab.command("Show GPUs")
    lab.command("Show Session")  # what is looked at is given room
    for size in (PHONE, ZOOMED, SIZE):
        page.set_viewport_size(size)
        expect(lab.status()).to_be_visible()
        lab.fits("jp-hpcsec-session")


def test_the_palette_opens_the_panel_and_an_open_panel_is_open_again(lab: LabPage) -> None:
    with lab.page.expect_response(has_saved_open_panel):
        lab.command("Show Session")
        expect(lab.section("You")).to_be_visible()
    lab.page.goto(lab.page.url.split("?")[0])
    expect(lab.section("You")).to_be_visible()


IMAGE = HOSTILE.partition("<script>")[0]
"""It has no slash: a notebook is shown without its directories."""
NOTHING = {"processes": 0, "memory": 0}
GPUS: dict[str, Any] = {
    "state": "ok", "simulated": False, "verified": True, "time": 1_800_000_000, "devices": [
        {"uuid": "G0", "index": 0, "name": HOSTILE, "state": "ok", "allocated": True, "memory_total": 80 << 30,
         "memory_used": 12 << 30, "utilisation": 0, "others": {"processes": 2, "memory": 4 << 30}},
        {"uuid": "M1", "index": 3, "name": "Some GPU", "parent": "G1", "state": "ok", "allocated": False,
         "memory_total": 20 << 30, "memory_used": 9 << 30, "others": NOTHING,
         "not_visible": "9216 MiB are held by processes that are not visible from here"},
        {"uuid": "G2", "index": 2, "name": "Some GPU", "state": "lost", "others": NOTHING},
    ],
    "kernels": [
        {"id": "k", "notebook": f"{IMAGE}.ipynb", "busy": False, "devices": [{"uuid": "G0", "memory": 8 << 30}],
         "memory": 8 << 30, "utilisation": 0, "idle_s": 3700, "measured": True, "stage": 1, "left_s": 3500,
         "kept_s": 0, "may_keep_s": 28800},
        {"id": "m", "notebook": "mig.ipynb", "busy": False, "devices": [{"uuid": "M1", "memory": None}],
         "memory": None, "utilisation": None, "idle_s": 600, "measured": False, "stage": 0, "left_s": 6600,
         "kept_s": 0, "may_keep_s": 28800},
        {"id": "none", "notebook": "calm.ipynb", "devices": [], "memory": 0, "utilisation": 0},
    ],
    "elsewhere": [{"device": "G0", "name": HOSTILE, "leftover": True, "memory": 1 << 30}],
    "alerts": [{"rule": "R1", "title": HOSTILE, "confidence": "high"}],
    "limits": {"first_warning_s": 3600, "extend_by_s": 7200, "action": "shutdown kernel"},
}  # fmt: skip


def test_what_is_known_of_gpus_is_said_in_words_and_hostile_names_do_nothing(lab: LabPage) -> None:
    page, panel = lab.page, lab.gpus()
    # not even the way to the server is there
    lab.answer("gpu", None)
    lab.answer("gpu/stream", None)
    lab.reload()
    lab.command("Show GPUs")
    expect(panel).to_contain_text("Reconnecting…")
    # each state has its own words
    for state, words in (("lost", "Driver lost"), ("none", "no GPU that is watched")):
        lab.straighten()
        lab.say_of_gpus({"state": state})
        expect(panel).to_contain_text(words)
    # all of it at once, with names that would like to be more
    lab.straighten()
    lab.say_of_gpus({**GPUS, "verified": False})
    lab.reload()
    lab.command("Show GPUs")
    expect(panel).to_contain_text("Unverified")
    row = panel.locator('[data-kernel="k"]')
    expect(row).to_contain_text("8 GiB of 80 GiB")
    expect(row).to_contain_text(re.compile(r"Idle for 1 h 1 min, since .*Shut down in 58 min\."))
    expect(panel.locator('[data-kernel="m"]')).to_contain_text("MIG instance 3")
    expect(panel.locator('[data-kernel="m"]')).to_contain_text("Its use is not measurable: it is not shut down.")
    expect(panel.locator('[data-kernel="none"]')).to_contain_text("Holds no GPU memory.")
    expect(panel).to_contain_text("2 processes of other people run here (4 GiB).")
    expect(panel).to_contain_text("Driver lost")
    expect(panel).to_contain_text("not given to your job")
    expect(panel).to_contain_text("9216 MiB are held by processes that are not visible from here")
    expect(panel.get_by_role("listitem").filter(has_text="left over by a kernel")).to_contain_text("<img src=x")
    expect(panel.get_by_role("listitem").filter(has_text="R1")).to_contain_text("<script>")
    expect(panel.locator("img, script, a")).to_have_count(0)
    row.get_by_role("button", name="Release").click()
    expect(page.get_by_role("dialog")).to_contain_text("<img src=x")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert not lab.struck()
    for size in (PHONE, ZOOMED):
        page.set_viewport_size(size)
        lab.command("Show Session")
        lab.command("Show GPUs")
        expect(row).to_be_visible()
        picture(page, f"gpu-{size['width']}")
        lab.fits("jp-hpcsec-gpu")


def test_an_idle_kernel_on_a_gpu_is_announced_and_panel_and_warning_agree(lab: LabPage) -> None:
    page = lab.page
    idle = {**GPUS["kernels"][0], "notebook": HOSTILE.split(">")[0]}
    lab.say_of_gpus({**GPUS, "kernels": [idle]})
    lab.reload()
    notice = lab.notice("holds GPU memory and does nothing")
    expect(notice).to_contain_text('In 58 min the kernel of <img src=x onerror="window.struck=1" is shut down')
    picture(page, "gpu-idle")

    def keeps(request: Request) -> bool:
        return request.method == "POST" and "/gpu/keep" in request.url and '"minutes":120' in (request.post_data or "")

    # there is no such kernel: it is said, and the warning stands
    with page.expect_request(keeps):
        notice.get_by_role("button", name="Keep for 2 h").click()
    expect(lab.notice("could not be kept")).to_be_visible()
    # kept by the panel: it says so, and the warning goes with it
    lab.straighten()
    lab.say_of_gpus({**GPUS, "kernels": [idle]})
    lab.reload()
    lab.command("Show GPUs")
    row = lab.gpus().locator('[data-kernel="k"]')
    expect(row).to_have_attribute("data-stage", "1")
    expect(notice).to_be_visible()
    row.get_by_role("button", name="Keep the kernel").click()
    expect(page.get_by_role("dialog")).to_contain_text("may stay idle for longer")
    assert lab.complaints(".jp-Dialog-content") == []
    page.get_by_role("dialog").get_by_role("combobox").select_option("1 h")
    lab.straighten()
    lab.say_of_gpus({**GPUS, "kernels": [{**idle, "stage": 0, "kept_s": 3600, "left_s": 7100}]})
    lab.fulfil("gpu/keep", "application/json", '{"kernel": "k", "kept_s": 3600}')
    page.get_by_role("dialog").get_by_role("button", name="Keep", exact=True).click()
    expect(lab.notice("The kernel is kept for 1 h.")).to_be_visible()
    expect(row).to_contain_text("Kept for 1 h more.")
    expect(notice).to_have_count(0)
    assert not lab.struck()


def test_what_a_notebook_holds_on_a_gpu_is_shown_and_can_be_released(lab: LabPage) -> None:
    page, panel = lab.page, lab.gpus()
    page.set_viewport_size(WIDE)
    lab.command("Show GPUs")
    expect(panel).to_contain_text("Simulated")
    expect(panel).to_contain_text("Unverified")
    lab.item("eda.ipynb").dblclick()
    page.locator(".jp-Notebook .jp-CodeCell").first.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("from jupyter_hpcsec.gpu.standin import hold; hold(30, use=40)")
    page.keyboard.press("Shift+Enter")
    row = panel.get_by_role("listitem").filter(has=page.get_by_role("button", name="Show eda.ipynb"))
    expect(row).to_contain_text("30 GiB of 80 GiB")
    expect(row).to_contain_text("40 %")
    expect(row.get_by_role("meter", name="Memory")).to_have_attribute("aria-valuetext", "30 GiB of 80 GiB")
    expect(row.get_by_role("img", name=re.compile("^Use in the last .* now 40 %$"))).to_be_visible()
    # the notebook is one click away, by the keyboard, too
    page.get_by_role("tab", name="Launcher").click()
    expect(page.locator(".jp-NotebookPanel")).to_be_hidden()
    row.get_by_role("button", name="Show eda.ipynb").press("Enter")
    expect(page.locator(".jp-NotebookPanel")).to_be_visible()
    picture(page, "gpu")
    assert lab.complaints("#jp-hpcsec-gpu") == []
    lab.theme("Dark")
    picture(page, "gpu-dark")
    assert lab.complaints("#jp-hpcsec-gpu") == []
    lab.theme("Light")
    # nothing is lost without a second word
    released: list[str] = []
    page.on("request", lambda request: released.append(request.url) if "/gpu/release" in request.url else None)
    row.get_by_role("button", name="Release").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("all variables are lost")
    picture(page, "gpu-release")
    assert lab.complaints(".jp-Dialog-content") == []
    page.keyboard.press("Enter")  # what is chosen beforehand is to leave it
    expect(dialog).to_have_count(0)
    expect(row).to_contain_text("30 GiB of 80 GiB")
    assert released == []
    row.get_by_role("button", name="Release").click()
    dialog.get_by_role("button", name="Restart the kernel").click()
    expect(lab.notice("The kernel of eda.ipynb was restarted.")).to_be_visible()
    expect(row).to_contain_text("Holds no GPU memory.")
    assert len(released) == 1


def has_saved_open_panel(response: Response) -> bool:
    """JupyterLab has saved its layout, with our panel open: one that is closed is in each layout, too."""
    request = response.request
    if "/api/workspaces" not in request.url or request.method != "PUT" or not response.ok:
        return False
    layout = json.loads(request.post_data or "{}")["data"].get("layout-restorer:data", {})
    right = layout.get("right", {})
    return right.get("current") == "jp-hpcsec-session" and not right.get("collapsed")
