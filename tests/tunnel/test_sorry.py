"""The answer of a session that can't be reached, read by a real HTTP parser."""

import h11
import pytest

from jupyter_hpcsec.tunnel.sorry import sorry

PROGRAM = b"GET /api/kernels HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n"
BROWSER = b"GET /lab HTTP/1.1\r\nHost: x\r\nAccept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n\r\n"
SENTENCE = "Gone: <script>alert('ü')</script>"


def parse(answer: bytes) -> tuple[int, dict[str, str], str]:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    client.receive_data(b"")
    response, data, end = client.next_event(), client.next_event(), client.next_event()
    assert isinstance(response, h11.Response) and isinstance(data, h11.Data) and isinstance(end, h11.EndOfMessage)
    assert client.trailing_data == (b"", True)
    headers = {name.decode(): value.decode() for name, value in response.headers}
    return response.status_code, headers, bytes(data.data).decode()


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        PROGRAM,
        PROGRAM.removesuffix(b"\r\n") + b"X-Note: accept: text/html\r\n\r\n",
        PROGRAM + b"body\r\nAccept: text/html\r\n",
        b"GET /text/html HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes(range(256)) * 200,
    ],
)
def test_who_asks_for_no_page_gets_one_line(request_: bytes) -> None:
    status, headers, body = parse(sorry(SENTENCE, request_))
    assert (status, body) == (503, SENTENCE + "\n")
    assert headers["content-type"] == "text/plain; charset=utf-8" and headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("request_", [BROWSER, BROWSER.replace(b"Accept", b"aCCEPT"), BROWSER[:-4]])
def test_a_browser_gets_a_page_that_tries_again(request_: bytes) -> None:
    status, headers, body = parse(sorry(SENTENCE, request_))
    assert status == 503 and headers["content-type"] == "text/html; charset=utf-8"
    assert "<script" not in body and "Gone: &lt;script&gt;alert(&#x27;ü&#x27;)" in body
    assert 'http-equiv="refresh"' in body and '<a href="">Try again</a>' in body
    assert headers["cache-control"] == "no-store" and "default-src 'none'" in headers["content-security-policy"]
    assert "//" not in body.replace("<!doctype", "")
