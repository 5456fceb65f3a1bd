"""What people see of a real batch system: the choice, the wait, the failure and the lost node, in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.chromium import PATIENCE_MS, Watch, browser, picture
from tests.e2e.site import FAIL, PASSWORD, Site

pytestmark = [pytest.mark.e2e, pytest.mark.slurm, pytest.mark.browser, pytest.mark.timeout(900)]

expect.set_options(timeout=PATIENCE_MS)
FORGED = """([name, value]) => {
  const field = document.createElement("input");
  Object.assign(field, { type: "hidden", name, value });
  document.getElementById("spawn_form").append(field);
}"""


@pytest.fixture
def watch(site: Site) -> Iterator[Watch]:
    with browser() as watch:
        yield watch
        assert watch.hosts() == {"127.0.0.1"}
        assert watch.complaints_of_ours() == []


@pytest.fixture
def page(site: Site, watch: Watch) -> Iterator[Page]:
    """Alice's browser, at the form."""
    page = watch.new_page()
    page.goto(site.url)
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/login" not in url)  # a login that a next page interrupts is none
    page.goto(f"{site.url}/hub/spawn")
    page.get_by_label("Small").check()
    yield page
    site.clear()


def press_start(page: Page) -> None:
    page.get_by_role("button", name="Start").click()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("partition", "main", "There is no option 'partition'."),
        ("batch_script", "#!/bin/sh", "There is no option 'batch_script'."),
        ("cpus", "64", "CPU cores must be 1 in this profile."),
        ("minutes.small", "1 --wrap", "Time (minutes) must be a whole number."),
        ("gpus", "4", "GPUs must be 0 in this profile."),
    ],
)
def test_a_forged_field_is_refused_and_submits_nothing(
    site: Site, page: Page, name: str, value: str, sentence: str
) -> None:
    page.evaluate(FORGED, [name, value])
    press_start(page)
    expect(page.locator(".spawn-error-msg")).to_have_text(f"Error: {sentence}")
    assert site.slurm("squeue", "--noheader") == ""


def test_what_the_batch_system_refuses_is_told_in_its_words(page: Page) -> None:
    page.get_by_label("More than there is").check()
    press_start(page)
    told = page.locator(".spawn-error-msg, #progress-message")
    expect(told).to_contain_text("The batch system did not take your job")
    expect(told).to_contain_text("node configuration is not available")


def test_a_job_that_fails_is_told_and_can_be_started_again(page: Page) -> None:
    (Path("/home/alice") / FAIL).touch()
    press_start(page)
    expect(page.locator("#progress-message")).to_contain_text("Your job failed with exit code 3")
    picture(page, "failed")
    page.reload()
    expect(page.get_by_role("heading")).to_contain_text("Spawn failed")
    expect(page.locator(".container", has_text="exit code 3")).to_be_visible()
    (Path("/home/alice") / FAIL).unlink()
    page.get_by_role("button", name="Relaunch").click()
    press_start(page)
    page.wait_for_url("**/lab**")


def test_a_wait_and_a_lost_node(site: Site, page: Page) -> None:
    """The queue's reason is shown; then the session's node is cut off, and comes back by itself."""
    job = site.slurm("sbatch", "--parsable", "--nodes=2", "--exclusive", "--wrap=sleep 900", user="bob")
    press_start(page)
    expect(page.locator("#progress-message")).to_contain_text("Your job is queued; ")
    expect(page.locator("#progress-message")).to_contain_text("waiting for free resources (Resources)")
    picture(page, "queued")
    site.slurm("scancel", job)
    page.wait_for_url("**/lab**")
    expect(page.locator(".jp-Launcher")).to_be_visible()

    node = site.slurm("squeue", "--noheader", "--user=alice", "--format=%N")
    site.cluster.partition(node)
    try:
        response = page.goto(page.url, timeout=2 * PATIENCE_MS)
        assert response is not None and response.status == 503
        picture(page, "away")
        expect(page.get_by_role("heading")).to_have_text("Not connected")
    finally:
        site.cluster.heal(node)
    expect(page.locator(".jp-Launcher")).to_be_visible(timeout=2 * PATIENCE_MS)
