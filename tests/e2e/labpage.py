"""JupyterLab's page as a person with the extension sees it, and a server whose answers a test may bend."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, Route

Bend = Callable[[dict[str, Any]], None]
"""Changes the body of an answer in place."""

HOSTILE = '<img src=x onerror="window.struck=1"><script>window.struck=1</script>\'"`${struck=1}'


class LabPage:
    """One page in a session. What is bent stays so until ``straighten``; everything else is the real server's."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.api = page.url.split("/lab")[0] + "/hpcsec/api/"

    # What is there to see

    def status(self) -> Locator:
        return self.page.locator(".jp-hpcsec-Status-button")

    def panel(self) -> Locator:
        return self.page.get_by_role("region", name="Session", exact=True)

    def notice(self, text: str) -> Locator:
        return self.page.get_by_role("alert").filter(has_text=text)

    def section(self, name: str) -> Locator:
        return self.panel().get_by_role("region", name=name, exact=True)

    def item(self, name: str) -> Locator:
        """A row of the file browser."""
        row = self.page.locator(".jp-DirListing-item")
        return row.filter(has=self.page.locator(".jp-DirListing-itemText", has_text=re.compile(f"^{re.escape(name)}$")))

    # What a person does

    def open_panel(self) -> None:
        if not self.panel().is_visible():
            self.status().click()

    def look_again(self) -> None:
        """Ask the server now, by the panel's button."""
        self.open_panel()
        self.panel().get_by_role("button", name="Refresh").click()

    def command(self, name: str) -> None:
        """Choose from the command palette, by the keyboard alone."""
        self.page.keyboard.press("Control+Shift+c")
        self.page.locator(".lm-CommandPalette-input").fill(name)
        self.page.locator(".lm-CommandPalette-item", has_text=name).first.wait_for()
        self.page.keyboard.press("Enter")

    # What a test does to the answers

    def bend(self, what: str, change: Bend) -> None:
        def answer(route: Route) -> None:
            response = route.fetch()
            body = response.json()
            change(body)
            route.fulfill(response=response, body=json.dumps(body))

        self.page.route(f"{self.api}{what}*", answer)

    def answer(self, what: str, status: int | None) -> None:
        """Answer with a bare status, or with nothing, as when the way is cut."""

        def reply(route: Route) -> None:
            if status is None:
                route.abort()
            else:
                route.fulfill(status=status, body="")

        self.page.route(f"{self.api}{what}*", reply)

    def end_in(self, seconds: float) -> None:
        """As if the job ended then."""
        at = int(time.time() + seconds)
        self.bend("session", lambda body: body.update(ends_at=at))

    def straighten(self) -> None:
        self.page.unroute_all(behavior="wait")

    def struck(self) -> bool:
        """Whether a hostile text came to run."""
        return bool(self.page.evaluate("window.struck === 1"))
