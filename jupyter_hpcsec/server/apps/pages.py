"""The few pages that are ours. Pure; everything that is not a constant is escaped."""

from collections.abc import Sequence
from html import escape

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>{more}
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto; padding: 0 1rem }}
:root {{ color-scheme: light dark }}
</style>
</head><body><h1>{title}</h1>
{body}
</body></html>
"""
LOOK_AGAIN_S = 5


def refusal_page(status: int, sentence: str) -> str:
    """One sentence; while an app is awaited (502), the page looks again by itself."""
    more = f'<meta http-equiv="refresh" content="{LOOK_AGAIN_S}">' if status == 502 else ""
    title = "Waiting for the app" if status == 502 else f"The app can't be opened ({status})"
    return _PAGE.format(title=title, more=more, body=f"<p>{escape(sentence)}</p>")


def index_page(ports: Sequence[int]) -> str:
    """Links to the ports that listen."""
    items = "\n".join(f'<li><a href="{port}/">port {port}</a></li>' for port in ports)
    body = (
        f"<p>These ports of your session listen:</p>\n<ul>\n{items}\n</ul>" if ports else "<p>Nothing listens yet.</p>"
    )
    return _PAGE.format(title="Apps of your session", more="", body=body)
