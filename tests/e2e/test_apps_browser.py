"""Dask and an app of one's own in a real browser, through proxy, hub and tunnel: live, and no cookie for the app."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.chromium import PATIENCE_MS, Watch, browser, picture
from tests.e2e.demorun import Quickstart

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(400)]

expect.set_options(timeout=PATIENCE_MS)

PORT = 20031
DASK = """
from dask.distributed import Client
client = Client(n_workers=2, threads_per_worker=1)
print("the page is", client.dashboard_link)
""".strip()
APP = f"""
import http.server, threading
class App(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript" if self.path == "/sw.js" else "text/html")
        self.send_header("Set-Cookie", "mine=1; Path=/; HttpOnly")
        self.send_header("Set-Cookie", "_xsrf=stolen; Path=/")
        self.end_headers()
        self.wfile.write(f"<pre>{{self.command}} {{self.path}}\\n{{self.headers}}</pre>".encode())
    do_POST = do_GET
server = http.server.ThreadingHTTPServer(("", {PORT}), App)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("the app listens")
""".strip()


@pytest.fixture
def quickstart() -> Iterator[Quickstart]:
    made = Quickstart(private=True)
    yield made
    made.stop()


def run_cell(page: Page, source: str) -> None:
    """Put a program into the last cell of the open notebook, at once and not key by key, and run it."""
    page.locator(".jp-Notebook .jp-CodeCell").last.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(source)
    page.keyboard.press("Shift+Enter")


def said(page: Page, text: str) -> str:
    output = page.locator(".jp-Notebook .jp-OutputArea-output").filter(has_text=text)
    expect(output).to_be_visible()
    return output.inner_text()


def test_apps_in_the_browser(quickstart: Quickstart) -> None:
    with browser() as watch:
        link = quickstart.link()
        site = link.partition("/hub/")[0]
        page = watch.new_page()
        page.goto(link)
        page.wait_for_url("**/lab**")
        user = page.url.split("/")[4]
        apps = f"/user/{user}/hpcsec/app/"
        page.locator(".jp-DirListing-item", has_text="eda.ipynb").dblclick()
        expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()

        run_cell(page, DASK)
        dashboard = said(page, "the page is").split()[-1]
        assert dashboard == f"{apps}8787/status"
        a_live_page(watch, f"{site}{dashboard}")

        run_cell(page, APP)
        said(page, "the app listens")
        an_app_gets_no_cookie_of_others(watch, f"{site}{apps}{PORT}/")
        assert watch.hosts() == {"127.0.0.1"}


def a_live_page(watch: Watch, url: str) -> None:
    """Dask's page draws what comes over its websocket."""
    page = watch.new_page()
    page.goto(url)
    page.wait_for_function("window.Bokeh && Bokeh.documents.length > 0 && Bokeh.documents[0].roots().length > 0")
    live = next(socket for socket in watch.sockets if "/status/ws" in socket.url)
    live.wait_for_event("framereceived")
    assert not live.is_closed()
    picture(page, "dask")
    page.close()


def an_app_gets_no_cookie_of_others(watch: Watch, url: str) -> None:
    """What vouches for its owner stays away from the app, and what it says of the site stays away from the browser."""
    page = watch.new_page()
    page.goto(url)
    first = page.locator("pre").inner_text()
    assert first.startswith("GET /\n")
    assert "cookie" not in first.lower(), first
    page.reload()
    assert "Cookie: mine=1\n" in page.locator("pre").inner_text()
    path = url.removeprefix(url.partition("/user/")[0])
    assert [(c["path"], c["value"]) for c in watch.context.cookies(url) if c["name"] == "mine"] == [(path, "1")]
    assert "stolen" not in str(watch.context.cookies(url))

    assert page.evaluate("fetch('x', {method: 'POST', body: 'a'}).then(answer => answer.text())").startswith(
        "<pre>POST /x\n"
    )
    registered = "navigator.serviceWorker.register('sw.js').then(() => 'registered', error => error.name)"
    assert page.evaluate(registered) in {"TypeError", "SecurityError"}
    page.close()
