"""A session that staff ends while its job ignores that: the job is killed, and its user reads who ended it and why."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.chromium import PATIENCE_MS, browser
from tests.e2e.demorun import Quickstart

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(400)]

REASON = "suspended <b>for now</b>, please call security"
SHOWN = f"ended by this site's staff: {REASON}"

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture
def quickstart() -> Iterator[Quickstart]:
    started = Quickstart()
    try:
        yield started
    finally:
        started.stop()


def session(socket: str, *arguments: str) -> str:
    command = [sys.executable, "-m", "jupyter_hpcsec.cli.main", "session", *arguments, "--socket", socket]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def of_the_job(state: str) -> list[psutil.Process]:
    """What the job started, the agent first, by the home that is this quickstart's own."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            if "jupyter_hpcsec.hub.launch" in line and process.environ().get("HOME", "").startswith(state):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_it_is_told_in_jupyterlab_and_on_the_hubs_page_and_the_job_is_gone(quickstart: Quickstart) -> None:
    with browser() as watch:
        page = watch.new_page()
        page.goto(quickstart.link())
        page.wait_for_url("**/lab**")
        expect(page.locator(".jp-hpcsec-Status-button")).to_be_visible()
        state = re.search(r"/\S*hpcsec-[^/\s]+", next(line for line in quickstart.lines if "(0700" in line))
        assert state
        socket = f"{state[0]}/run/admin.sock"
        job = of_the_job(state[0])
        assert job
        for process in job:
            process.send_signal(signal.SIGSTOP)  # the agent hears nothing of the end, and no SIGTERM
        identifier = session(socket, "list").splitlines()[1].split()[0]
        session(socket, "end", identifier, "--reason", REASON)

        expect(page.get_by_role("dialog")).to_contain_text(SHOWN)
        on_the_hubs_page(watch.new_page(), page.url)
        _, alive = psutil.wait_procs(job, timeout=120)
        assert alive == []
        assert identifier not in session(socket, "list")


def on_the_hubs_page(page: Page, lab: str) -> None:
    page.goto(lab)
    expect(page.get_by_role("heading")).to_contain_text("Server not running")
    expect(page.locator("#hpcsec-ended")).to_contain_text(SHOWN)
    expect(page.locator("#hpcsec-ended b")).to_have_count(0)
    page.locator("#start").click()
    page.wait_for_url("**/lab**")
    page.goto(lab.partition("/user/")[0] + "/hub/home")
    expect(page.get_by_role("button", name="Stop My Server")).to_be_visible()
    expect(page.locator("#hpcsec-ended")).to_have_count(0)
