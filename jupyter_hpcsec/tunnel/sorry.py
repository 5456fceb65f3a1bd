"""What a browser is told when its session can't be reached: a page for people, one line of text for programs.

Pure. It does not parse HTTP: it looks for one word in the request's headers, and a wrong guess changes the form of the
same sentence and nothing else.
"""

import re
from html import escape

_ASKS_FOR_HTML = re.compile(rb"\r\naccept:[^\r\n]*text/html", re.IGNORECASE)
_RETRY_S = 5

_HEAD = (
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/{kind}; charset=utf-8\r\nRetry-After: {retry}\r\n"
    "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n"
    "Connection: close\r\nContent-Length: {length}\r\n\r\n"
)
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{retry}">
<title>Not connected</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 4rem auto; padding: 0 1rem }}
</style>
<h1>Not connected</h1>
<p>{sentence}</p>
<p><a href="">Try again</a> &ndash; this page does so by itself every {retry} seconds.</p>
</html>
"""


def sorry(sentence: str, request: bytes = b"") -> bytes:
    """A complete HTTP/1.1 answer (RFC 9112) that says why the session can't be reached now.

    ``request`` is what came of the request so far; a browser that asks for a page (RFC 9110, 12.5.1) gets one.
    """
    head, _, _ = request.partition(b"\r\n\r\n")
    if _ASKS_FOR_HTML.search(head):
        kind, body = "html", _PAGE.format(sentence=escape(sentence), retry=_RETRY_S)
    else:
        kind, body = "plain", sentence + "\n"
    octets = body.encode()
    return _HEAD.format(kind=kind, length=len(octets), retry=_RETRY_S).encode() + octets
