"""Checks of the security console as its visitors meet it: by the proxy, then to the hub's login, as the hub's client.

Which roles hold its scopes is the hub's to know, and it tells administrators alone: this can't be seen from outside.
"""

import urllib.parse
from pathlib import Path

from jupyter_hpcsec.hub.consoleroles import NAME
from jupyter_hpcsec.ops.doctor.finding import Finding, bad, ok, unknown, warn
from jupyter_hpcsec.ops.doctor.world import HttpAnswer, World

HOP = "console"
TOKEN_FILE = Path("/etc/hpcsec/console.token")
"""Where the documentation puts the service's token."""
_CLIENT = f"service-{NAME}"
_INSTALL = (
    "give JupyterHub the service `hpcsec` (docs/admins/console.md) and restart it, if the site is to have a console"
)

_START = (
    "start it (systemctl status hpcsec-console); c.HpcsecConsole.listen and the url of the hub's service have to be "
    "the same, and c.HpcsecConsole.proxy_users to name the proxy's account"
)


def examine(world: World, public_url: str, hub_api_url: str | None, token_file: Path = TOKEN_FILE) -> list[Finding]:
    """1. Somebody who has not logged in comes by the proxy. 2. The console is the hub's OAuth client, by its token."""
    path = f"services/{NAME}/"
    url = urllib.parse.urljoin(f"{public_url.rstrip('/')}/", path)
    try:
        answer: HttpAnswer | OSError = world.http(f"{url}live")
    except OSError as exc:
        answer = exc
    found = [judge_visit(url, answer)]
    if world.stat(token_file) is not None:
        found += _client(world, hub_api_url, token_file)
    return found


def judge_visit(url: str, answer: HttpAnswer | OSError) -> Finding:
    """What the console's first page answers to a visitor without a login: the way to the hub's."""
    if isinstance(answer, OSError):
        return unknown(HOP, f"{url} does not answer: {answer.strerror or answer}", "mend the public url first")
    location = urllib.parse.urlsplit(answer.headers.get("location", ""))
    if answer.status >= 500:
        return bad(HOP, f"the proxy does not reach the console: {url} answers with {answer.status}", _START)
    if answer.status == 403:
        fix = "c.HpcsecConsole.hosts has to have the name of the public url, or be empty"
        return bad(HOP, f"the console refuses visitors of {url} (403)", fix)
    if not location.path.endswith("/api/oauth2/authorize"):
        return warn(HOP, f"there is no console at {url}", _INSTALL)
    return _judge_login(url, location.query)


def _judge_login(url: str, query: str) -> Finding:
    asked = urllib.parse.parse_qs(query)
    client, back = asked.get("client_id", [""])[0], asked.get("redirect_uri", [""])[0]
    if client != _CLIENT:
        return bad(HOP, f"it logs in as the client {client[:80]!r}", f"c.HpcsecConsole.client_id = {_CLIENT!r}")
    if urllib.parse.urlsplit(back).path != f"{urllib.parse.urlsplit(url).path}oauth_callback":
        fix = f"c.HpcsecConsole.base_url = {urllib.parse.urlsplit(url).path!r}"
        return bad(HOP, f"the hub would send its visitors to {back[:80]!r}", fix)
    return ok(HOP, f"it answers at {url}, and sends visitors to the hub's login as {_CLIENT}")


def _client(world: World, hub_api_url: str | None, token_file: Path) -> list[Finding]:
    """With the service's token, which goes to the hub as the console sends it: is it the client's secret?"""
    if hub_api_url is None:
        return [unknown(HOP, "the hub's address is not known", "mend the gateway first, or give --hub-api-url")]
    try:
        secret = world.read(token_file).strip()
    except OSError as exc:
        return [unknown(HOP, f"{token_file} can't be read: {exc.strerror}", "run the doctor as root")]
    asked = {"client_id": _CLIENT, "client_secret": secret, "grant_type": "authorization_code", "code": "none"}
    url = f"{hub_api_url.rstrip('/')}/oauth2/token"
    try:
        answer = world.http(url, body=urllib.parse.urlencode(asked).encode())
    except OSError as exc:
        return [unknown(HOP, f"the hub does not say whether it knows the console: {exc}", "mend the hub api first")]
    return [judge_client(answer, token_file)]


def judge_client(answer: HttpAnswer, token_file: Path) -> Finding:
    """RFC 6749, section 5.2: 400 (invalid_grant) is the answer to a client that is known and a code that is none."""
    if answer.status == 400:
        return ok(HOP, f"the hub knows {_CLIENT} by the token in {token_file}")
    if answer.status == 401:
        fix = (
            f"the service's api_token in the hub's configuration has to be the content of {token_file}; restart the hub"
        )
        return bad(HOP, f"the hub does not know {_CLIENT} by the token in {token_file}: nobody can log in", fix)
    return unknown(HOP, f"the hub answers the console's client with {answer.status}", "look at the hub's log")
