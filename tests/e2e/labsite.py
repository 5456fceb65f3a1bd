"""A quickstart with the demo's rules, a browser that has logged in to it, and pages of JupyterLab in it."""

import contextlib
import re
from collections.abc import Iterator

from playwright.sync_api import expect

from tests.e2e.chromium import Watch, browser
from tests.e2e.demorun import Quickstart
from tests.e2e.labpage import LabPage


@contextlib.contextmanager
def watched(gpus: int = 0) -> Iterator[Watch]:
    """A browser that has logged in; in the end it must have spoken to this computer alone."""
    quickstart = Quickstart(locked=True, gpus=gpus)
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


@contextlib.contextmanager
def fresh(watch: Watch) -> Iterator[LabPage]:
    """A page of JupyterLab with an empty workspace, light, and with nothing bent. A test may close it."""
    page = watch.new_page()
    site = next(url for url in watch.asked if "/user/" in url)
    root = re.match(r"http://[^/]+/user/[^/]+/", site)
    assert root
    page.goto(f"{root[0]}lab?reset")
    lab = LabPage(page)
    expect(lab.status()).to_be_visible()
    yield lab
    if not page.is_closed():
        lab.straighten()
        page.close()
