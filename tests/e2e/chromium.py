"""Debian's Chromium for tests, and all that it asked for and complained of.

Playwright only drives it; no browser is downloaded. Whatever a page asks another host for does not leave the browser.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, WebSocket, sync_playwright

CHROMIUM = "/usr/bin/chromium"
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
PATIENCE_MS = 60_000
SIZE = {"width": 1000, "height": 640}
PHONE = {"width": 360, "height": 740}
STATUS = "Failed to load resource: the server responded with a status of "
"""How Chromium's console calls every answer from 400 on, also the one that a test asks for."""


class Watch:
    """What one browser did."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.asked: set[str] = set()
        self.complaints: list[str] = []
        self.sockets: list[WebSocket] = []
        context.on("request", lambda request: self.asked.add(request.url))
        context.on("console", self._console)
        context.on("weberror", lambda error: self._complain(_place(error.page), str(error.error)))

    def new_page(self) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("websocket", self._opened)
        return page

    def _opened(self, socket: WebSocket) -> None:  # Playwright can't call a built-in method
        self.sockets.append(socket)

    def _console(self, message: ConsoleMessage) -> None:
        place = _place(message.page)
        is_refusal = message.text.startswith(STATUS)
        if "Content Security Policy" in message.text or (message.type == "error" and not is_refusal):
            self._complain(place, message.text)
        elif is_refusal and message.location["url"] != place:
            self._complain(place, f"{message.text}: {message.location['url']}")

    def _complain(self, place: str, text: str) -> None:
        self.complaints.append(f"{place}: {text}")

    def hosts(self) -> set[str]:
        """The hosts of every request and websocket; what a page holds itself (data:, blob:) has none."""
        urls = [*self.asked, *(socket.url for socket in self.sockets)]
        return {urlsplit(url).hostname or "" for url in urls if urlsplit(url).scheme not in {"data", "blob"}}

    def complaints_of_ours(self) -> list[str]:
        """Errors and broken policies on the hub's pages, and broken policies anywhere."""
        return [text for text in self.complaints if "/hub/" in text.split(": ")[0] or "Content Security" in text]


def _place(page: Page | None) -> str:
    return page.url if page is not None else ""


@contextlib.contextmanager
def browser() -> Iterator[Watch]:
    """A browser without history: a profile of its own, removed at the end."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        try:
            yield Watch(chromium.new_context(viewport=SIZE, locale="en-GB", accept_downloads=True))
        finally:
            chromium.close()


def picture(page: Page, name: str, **options: Any) -> None:
    """Keep a picture of the page where HPCSEC_SCREENSHOTS says; the documentation's are made so."""
    directory = os.environ.get("HPCSEC_SCREENSHOTS")
    if directory:
        page.screenshot(path=Path(directory) / f"{name}.png", animations="disabled", **options)


def overflows(page: Page) -> bool:
    """Whether one must scroll sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))
