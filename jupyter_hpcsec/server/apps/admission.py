"""Who may ask for an app, from where, and whether this session may have apps at all."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_core.utils import ensure_async
from tornado import web

from jupyter_hpcsec.access.values import Bind
from jupyter_hpcsec.errors import HpcsecError, Refused, Unavailable
from jupyter_hpcsec.server.apps import ports
from jupyter_hpcsec.server.apps.address import Address, parse_address
from jupyter_hpcsec.server.apps.cookies import CookieJar
from jupyter_hpcsec.server.apps.origin import is_from_here
from jupyter_hpcsec.server.apps.pages import refusal_page
from jupyter_hpcsec.server.facts import SessionFacts, read_facts
from jupyter_hpcsec.server.refusals import refusals

if TYPE_CHECKING:
    from jupyter_server.base.handlers import JupyterHandler

    Handler = JupyterHandler
else:
    Handler = object

RESOURCE = "hpcsec-apps"
"""The name that an authorizer is asked about, with the action ``execute``: an app does what its owner's code does."""


class Sorry(web.HTTPError):
    """A refusal with a sentence for the person. One with a ``rule`` is recorded: it is no trouble, but a no."""

    def __init__(self, status: int, sentence: str, rule: str = "") -> None:
        super().__init__(status, sentence)
        self.sentence, self.rule = sentence, rule


class Apps:
    """What the handlers of one server share: whose the session is, and what its apps set."""

    def __init__(self, environment: Mapping[str, str], net: Path = ports.NET) -> None:
        self._environment, self._net = environment, net
        self._facts: SessionFacts | None = None
        self.jar = CookieJar()

    def owner(self) -> str:
        """The user whose session this is; ``Unavailable`` while nobody has said so."""
        return self._session().user

    def check(self) -> None:
        """``Refused`` unless the session has a network of its own, by its receipt and by what the kernel shows."""
        bind = self._session().protections.get("bind")
        if bind != Bind.PRIVATE:
            raise Refused(
                "app.bind",
                "the policy of this site gives your session no network of its own (network.bind: private), "
                "so apps can't be opened in it",
            )
        if not ports.is_private(self._net):
            raise Refused("app.network", "the session's network is not its own, so no port of it is opened to you")

    def listening(self) -> list[int]:
        """The ports that something listens on."""
        return ports.listening(ports.read("tcp", self._net), ports.read("tcp6", self._net))

    def _session(self) -> SessionFacts:
        if self._facts is None:
            self._facts = read_facts(self._environment)  # written once, but perhaps after the server came up
        if self._facts is None:
            raise Unavailable("this server was not started by a session")
        return self._facts


class Admission(Handler):
    """Mixed into the handlers: everything that has to hold before an app learns of a request."""

    apps: Apps

    def initialize(self, apps: Apps) -> None:
        """Take what the handlers share."""
        self.apps = apps

    def check_xsrf_cookie(self) -> None:
        """In place of Jupyter's token, which apps don't know. Tornado and the Hub's code ask before a user is known."""
        if not hasattr(self, "_jupyter_current_user"):
            return  # ``admit`` asks again
        if self.token_authenticated:
            return  # no browser sends a token by itself
        if not self.is_from_here():
            raise Sorry(403, "The request comes from another site's page.", "app.origin")

    def is_from_here(self) -> bool:
        """Whether the page that asks is one of this site's."""
        request = self.request
        return is_from_here(request.headers, request.method or "", websocket=is_upgrade(request.headers))

    async def admit(self) -> None:
        """Whether the one who asks may; the caller made sure that it is known who that is.

        1. The session's owner. 2. Whom the server's authorizer lets execute. 3. From a page of this site. 4. Not to
        install a service worker, which would outlive the session. 5. In a session whose policy allows apps.
        """
        try:
            owner = self.apps.owner()
            user = self.current_user
            if user is None or user.username != owner or not _is_person(user):
                raise Sorry(403, f"The apps of this session are for {owner} alone.", "app.owner")
            if not await ensure_async(self.authorizer.is_authorized(self, user, "execute", RESOURCE)):
                raise Sorry(403, "You are not authorized to use the apps of this session.", "app.unauthorized")
            self.check_xsrf_cookie()
            if "Service-Worker" in self.request.headers:
                sentence = "An app can't install a service worker here: it would outlive the session."
                raise Sorry(403, sentence, "app.service-worker")
            self.apps.check()
        except HpcsecError as error:
            rule = error.rule if isinstance(error, Refused) else ""
            raise Sorry(404 if rule else 503, _sentence(error), rule) from error

    def address(self) -> Address:
        """The app that the request's path names."""
        try:
            return parse_address(self.request.path, self.base_url)
        except Refused as refusal:
            raise Sorry(404, _sentence(refusal), refusal.rule) from refusal

    def scheme(self) -> str:
        """What the browser speaks, as the proxy in front says."""
        said = self.request.headers.get("X-Forwarded-Proto", self.request.protocol)
        return "https" if re.match(r"(?i)\s*https\s*(?:,|\Z)", said) else "http"

    def tell_refused(self, rule: str, sentence: str) -> None:
        """Have a refusal recorded, with who asked as far as the server knows."""
        if rule:
            visitor = getattr(getattr(self, "_jupyter_current_user", None), "username", "") or "nobody who is known"
            refusals.tell(self.request.path, rule, f"{sentence} Asked by {visitor}.")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """A page with one sentence."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        sentence = error.sentence if isinstance(error, Sorry) else f"{HTTPStatus(status_code).phrase}."
        if isinstance(error, Sorry):
            self.tell_refused(error.rule, sentence)
        self.set_header("Cache-Control", "no-store")
        self.finish(refusal_page(status_code, sentence))


def _is_person(user: object) -> bool:
    """Whether the Hub means a user: a service of the Hub may have a user's name."""
    return bool(getattr(user, "hub_user", {"kind": "user"}).get("kind") == "user")


def is_upgrade(headers: Mapping[str, str]) -> bool:
    """Whether a websocket is asked for (RFC 6455, 4.1)."""
    return headers.get("Upgrade", "").lower() == "websocket"


def _sentence(error: HpcsecError) -> str:
    return f"{error.reason[:1].upper()}{error.reason[1:]}."
