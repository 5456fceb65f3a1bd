"""JupyterLab's page as a person with the extension sees it, and a server whose answers a test may bend."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, Route, expect

PATIENCE_S = 180.0
DONE = "Done: SHA-256 is equal at both ends"
"""What a transfer says in the end."""
Bend = Callable[[dict[str, Any]], None]
"""Changes the body of an answer in place."""

HOSTILE = '<img src=x onerror="window.struck=1"><script>window.struck=1</script>\'"`${struck=1}'

AXE = Path(__file__).parents[2] / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
"""Installed beside what builds the extension (``npm --prefix labextension ci``)."""

COMPLAINTS = """async place => {
  const found = await axe.run(place, { resultTypes: ["violations"] });
  return found.violations
    .filter(each => each.impact === "serious" || each.impact === "critical")
    .flatMap(each => each.nodes.map(node => `${each.id}: ${node.html} ${node.failureSummary}`));
}"""

CHOOSE = """async name => {
  const frame = () => new Promise(resolve => requestAnimationFrame(resolve));
  let asked = null;
  for (let count = 0; count < 30; count++) {
    const palette = [...document.querySelectorAll(".lm-CommandPalette")].find(each => each.checkVisibility());
    if (!palette) {
      asked = null;
    } else {
      const input = palette.querySelector(".lm-CommandPalette-input");
      if (asked !== palette || input.value !== name) {
        input.value = name;
        input.dispatchEvent(new Event("input", { bubbles: true }));
        asked = palette;
      } else {
        const items = [...palette.querySelectorAll(".lm-CommandPalette-item")];
        const found = items.find(each => each.textContent.includes(name));
        if (found) {
          found.click();
          return true;
        }
      }
    }
    await frame();
  }
  return false;
}"""
"""Ask the palette and choose at once, in one turn of the page: nothing can take the focus in between."""

FITS = """id => {
  const panel = document.getElementById(id);
  const { left, right } = panel.getBoundingClientRect();
  return panel.clientWidth > 0 && panel.scrollWidth <= panel.clientWidth && left >= 0 && right <= window.innerWidth;
}"""


class LabPage:
    """One page in a session. What is bent stays so until ``straighten``; everything else is the real server's."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._held: list[Route] = []
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

    def gpus(self) -> Locator:
        """The panel *GPU*."""
        return self.page.get_by_role("region", name="GPU", exact=True)

    def complaints(self, *places: str) -> list[str]:
        """What axe finds serious or critical in these places (CSS selectors)."""
        if not self.page.evaluate("typeof axe === 'object'"):
            self.page.evaluate(AXE.read_text(encoding="utf-8"))
        return [text for place in places for text in self.page.evaluate(COMPLAINTS, place)]

    def fits(self, panel: str) -> None:
        """Wait until a panel is to be seen whole, without a way to the side."""
        self.page.wait_for_function(FITS, arg=panel)

    # What a person does

    def reload(self) -> None:
        self.page.reload()
        self.status().wait_for()

    def open_panel(self) -> None:
        if not self.panel().is_visible():
            self.status().click()

    def look_again(self) -> None:
        """Ask the server now, by the panel's button."""
        self.open_panel()
        self.panel().get_by_role("button", name="Refresh").click()

    def command(self, name: str) -> None:
        """Choose from the command palette.

        JupyterLab hears no keys before it is ready, and what it opens last takes the palette's focus, which closes it.
        """
        palette = self.page.locator(".lm-CommandPalette-input")
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            if not palette.is_visible():
                self.page.keyboard.press("Control+Shift+c")
            if self.page.evaluate(CHOOSE, name):
                return
        raise AssertionError(f"the command palette offers no {name}")

    def theme(self, name: str) -> None:
        """Choose ``Dark`` or ``Light``, and wait until it is to be seen: JupyterLab covers itself meanwhile."""
        self.command(f"Theme: JupyterLab {name}")
        expect(self.page.locator("body")).to_have_attribute("data-jp-theme-light", str(name == "Light").lower())
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0)

    def upload(self, path: Path) -> Locator:
        """Have a file uploaded the verified way, where the file browser is; its row among the transfers."""
        with self.page.expect_file_chooser(timeout=PATIENCE_S * 1000) as chooser:
            self.command("Upload Large File")
        chooser.value.set_files(path)
        return self.row_of(path)

    def row_of(self, path: Path) -> Locator:
        """The newest row of an upload."""
        return self.page.get_by_role("listitem", name=f"Upload of {path.name}").first

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

    def say_of_gpus(self, body: dict[str, Any]) -> None:
        """Answer this of the GPUs: when asked, and as a stream that ends after it and is asked for again."""
        text = json.dumps(body)
        stream = f"event: panel\ndata: {text}\n\n"
        for what, kind, content in (("gpu", "application/json", text), ("gpu/stream", "text/event-stream", stream)):
            self.fulfil(what, kind, content)

    def fulfil(self, what: str, kind: str, content: str) -> None:
        """Answer this, whatever JupyterLab adds to the address."""
        address = re.compile(re.escape(f"{self.api}{what}") + r"(\?|$)")
        self.page.route(address, lambda route: route.fulfill(content_type=kind, body=content))

    def end_in(self, seconds: float) -> None:
        """As if the job ended then."""
        at = int(time.time() + seconds)
        self.bend("session", lambda body: body.update(ends_at=at))

    def hold(self, route: Route) -> None:
        """Leave a request without an answer until ``straighten``, which waits for every request's handler."""
        self._held.append(route)

    def straighten(self) -> None:
        while self._held:
            self._held.pop().abort()
        self.page.unroute_all(behavior="wait")

    def struck(self) -> bool:
        """Whether a hostile text came to run."""
        return bool(self.page.evaluate("window.struck === 1"))
