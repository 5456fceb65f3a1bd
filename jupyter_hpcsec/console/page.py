"""What every page has: who reads, what they may, what browsers are told to refuse, and the event before the answer.

A page is a ``Page`` with a ``scope``. ``prepare`` takes the steps that must come before any handler's own code; what
is refused is an event (``console.refused``). A page calls ``tell_read`` before it shows anything.
"""

import hmac
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import urlsplit

from jupyterhub.services.auth import HubOAuthCallbackHandler, HubOAuthenticated
from tornado.web import HTTPError, RequestHandler, StaticFileHandler

from jupyter_hpcsec.audit.events import Object
from jupyter_hpcsec.audit.kinds.console import ConsoleEntered, ConsoleRefused
from jupyter_hpcsec.audit.text import clean
from jupyter_hpcsec.console.desk import Desk
from jupyter_hpcsec.console.identity import OURS, SELF, Door, Reader
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused
from jupyter_hpcsec.hub.consoleroles import ALERT, END, PROJECT, READ

__all__ = ["ALERT", "END", "PROJECT", "READ", "SELF", "Callback", "NotFound", "Page", "Reader", "Static"]

POLICY = "; ".join(
    [
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("style", "script", "img", "font", "connect")),
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)
"""Nothing inline, nothing of another host, in no frame."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "noopener-allow-popups",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
SAFE = ("GET", "HEAD")
FIELD_LIMIT = 400
_HOST = re.compile(r"(?P<name>[A-Za-z0-9.-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")
RULES = {400: "console.malformed", 403: "console.forbidden", 404: "console.no-such-page", 405: "console.method"}
"""Rules of what tornado and JupyterHub refuse by a status alone."""


def status_of(error: HpcsecError) -> int:
    """The status of an answer that is one of our errors."""
    match error:
        case Refused():
            return 404 if error.rule == "session.unknown" else 403
        case Malformed():
            return 400
    return 503


class Guarded(RequestHandler):
    """Headers on every answer, errors as a page, refusals as events. It says nothing of who may read."""

    desk: Desk
    door: Door
    reader: Reader | None = None

    def initialize(self, **_: Any) -> None:
        """Tornado gives the settings of a route; ours are the application's."""
        self.desk, self.door = self.settings["desk"], self.settings["door"]

    def set_default_headers(self) -> None:
        """On errors too: tornado calls it again for them."""
        self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def set_cookie(self, name: str, value: str | bytes, *arguments: Any, **options: Any) -> None:
        """Every cookie: not for scripts, not sent by other sites' requests, only by TLS where the visitor has it."""
        options |= {"httponly": True, "samesite": "Lax", "secure": self.request.protocol == "https"}
        super().set_cookie(name, value, *arguments, **options)

    def check_host(self) -> None:
        """``Refused`` for a request that names no host, or one that is none of ours."""
        found = _HOST.fullmatch(self.request.headers.get("Host", ""))
        hosts = self.desk.settings.hosts
        if not found or (hosts and found["name"].lower() not in hosts):
            raise Refused("console.host", "The console is not reached by that name.")

    # Errors

    def send_error(self, status_code: int = 500, **facts: Any) -> None:
        """With the status of our own errors; nothing of what has been written is kept."""
        error = (facts.get("exc_info") or (None, None, None))[1]
        if isinstance(error, HpcsecError):
            status_code = status_of(error)
        super().send_error(status_code, **facts)

    def write_error(self, status_code: int, **facts: Any) -> None:
        """A page that says what was refused and why; the event of it."""
        error = (facts.get("exc_info") or (None, None, None))[1]
        heading = HTTPStatus(status_code).phrase
        sentence = "The console failed; its log says why. Nothing was changed."
        if isinstance(error, HpcsecError):
            sentence = error.reason
        elif status_code in RULES:
            sentence = {404: "There is no such page.", 405: "The page does not take that."}.get(
                status_code, "The request was not one that the console's own pages make. Go back and try again."
            )
        self._note(error, status_code, sentence)
        self.render_page("refused.html", heading=heading, sentence=sentence, status=status_code)

    def refuse(self, error: HpcsecError) -> str:
        """Its sentence, for a page that is the form again with what was typed; the answer's status, and the event."""
        self.set_status(status_of(error))
        self._note(error, self.get_status(), error.reason)
        return error.reason

    def _note(self, error: BaseException | None, status: int, sentence: str) -> None:
        if status < 500:
            rule = error.rule if isinstance(error, Refused) else RULES.get(status, "console.malformed")
            self.note_refused(rule, sentence)

    def note_refused(self, rule: str, reason: str) -> None:
        """The event of a refusal."""
        event = ConsoleRefused(
            method=self.request.method or "",
            object=Object(type="route", name=self.request.path),
            source=self.request.remote_ip or "",
            decision="refused",
            rule=rule,
            reason=reason,
        )
        self.desk.note(event, self.reader.name if self.reader else "")

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        """What is refused on purpose needs no trace."""
        if isinstance(value, HpcsecError):
            self.desk.log.warning("%s %s: %s", self.request.method, self.request.path, value)
        else:
            super().log_exception(typ, value, tb)

    def render_page(self, template: str, **values: Any) -> None:
        """Finish with a template; every value in it is escaped."""
        settings = self.desk.settings
        shared = {
            "prefix": settings.prefix,
            "logout": f"{settings.hub_prefix}logout",
            "home": f"{settings.hub_prefix}home",
            "path": self.request.path.removeprefix(settings.prefix),
            "reader": self.reader,
            "open_alerts": self.desk.record.open_alerts,
            "nav": [entry for entry in self.settings["nav"] if self.reader and self.reader.may(entry.scope)],
        }
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(self.settings["templates"].get_template(template).render(shared | values))


class Page(HubOAuthenticated, Guarded):
    """One page. ``label``: its name in the navigation, where it stands there."""

    scope: ClassVar[str] = READ
    label: ClassVar[str] = ""
    reader: Reader

    def initialize(self, **_: Any) -> None:
        """The hub's client for JupyterHub's part of it."""
        super().initialize()
        self.hub_auth = self.door.auth

    async def prepare(self) -> None:
        """Before any handler. Steps: 0 the host's name; 1 who; 2 which scope; 3 not by another site's page."""
        self.check_host()
        changes = self.request.method not in SAFE
        # 1. Who: the hub is asked anew by what changes something.
        try:
            found = await self.door.who(self, anew=changes)
        except Refused as refusal:
            if refusal.rule == "console.stale-token" and self.is_visit():
                self.log_in(refusal.rule, refusal.reason)
                return
            raise
        if found is None:
            if not self.is_visit():
                raise Refused("console.no-login", "Log in first.")
            self.log_in("console.no-login", "sent to the hub to log in")
            return
        self.reader = found
        # 2. The scope.
        if not found.may(self.scope):
            needs = f"This page needs the scope {self.scope}, which {found.name} does not hold."
            raise Refused("console.scope", f"{needs} Whoever administers the hub can grant it.")
        # 3. A form or a script of ours. A header's token is its own proof: browsers send none by themselves.
        if not found.by_token:
            self.check_form() if changes else self.check_reading()

    def is_visit(self) -> bool:
        """Whether a person opens a page, who can be sent to the login and back; a script and a form can't.

        The way back is what was asked for: ``//host/`` would lead to another host.
        """
        headers = self.request.headers
        is_browser = headers.get("Sec-Fetch-Mode", "navigate") == "navigate" and "Authorization" not in headers
        is_here = self.request.path.startswith(self.desk.settings.prefix)
        return self.request.method == "GET" and is_browser and is_here

    def log_in(self, rule: str, reason: str) -> None:
        """Send the visitor to the hub; it comes back with a code, to ``Callback``."""
        self.note_refused(rule, reason)
        self.clear_cookie(self.hub_auth.cookie_name, path=self.desk.settings.prefix)
        self.redirect(self.get_login_url())

    def get_current_user(self) -> str | None:
        """For tornado and JupyterHub: the name that ``prepare`` found."""
        return self.reader.name if getattr(self, "reader", None) else None

    def check_form(self) -> None:
        """``Refused`` where the request was not made by a form of ours: 1 its origin; 2 its token, the visitor's."""
        origin, site = self.request.headers.get("Origin"), self.request.headers.get("Sec-Fetch-Site")
        if site not in (None, "same-origin") or (origin is not None and urlsplit(origin).netloc != self.request.host):
            raise Refused("console.xsrf", "The request came from another site.")
        self.check_token(self.get_body_argument("_xsrf", "") or self.request.headers.get("X-XSRFToken", ""))

    def check_reading(self) -> None:
        """``Refused`` where a script reads that is none of ours.

        Users' own servers are pages of this origin, where the hub gives them no host names of their own: theirs could
        read in the visitor's name, the form's token too. People open pages; our scripts have the page's token.
        """
        headers = self.request.headers
        is_opened = headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
        if not is_opened or headers.get("Sec-Fetch-Dest", "document") != "document":
            self.check_token(headers.get("X-XSRFToken", ""))

    def check_token(self, given: str) -> None:
        """``Refused`` unless it is the visitor's."""
        if not given or not hmac.compare_digest(given.encode(), self.form_token().encode()):
            raise Refused("console.xsrf", "The page is too old, or was not one of ours: open it again.")

    def check_xsrf_cookie(self) -> None:
        """Done by ``prepare``, after the identity."""

    # For pages

    def field(self, name: str, limit: int = FIELD_LIMIT) -> str:
        """A field of the form or of the query, '' where it is not given; one line, printable, of at most ``limit``."""
        given = self.get_arguments(name, strip=True)
        if len(given) > 1:
            raise Malformed(f"The field {name} is given twice.")
        value = given[0] if given else ""
        if len(value) > limit:
            raise Malformed(f"The field {name} is longer than {limit} characters.")
        return clean(value, limit)

    async def tell_read(self, action: str, query: str, found: int, *, with_values: bool = False) -> None:
        """Have it recorded that the reader reads, in the reader's name. Nothing is shown before this returns."""
        await self.desk.gateway.audit_read(
            action=action, query=query, found=found, with_values=with_values, on_behalf=self.reader.name
        )

    def show(self, template: str, **values: Any) -> None:
        """Finish with a page. ``xsrf_token`` is for its forms."""
        self.render_page(template, xsrf_token=self.form_token(), **values)

    def form_token(self) -> str:
        """The visitor's token against forged forms, made where there is none."""
        token: str | bytes = self.xsrf_token
        return token.decode("ascii") if isinstance(token, bytes) else token


class Static(Page, StaticFileHandler):
    """The console's own style sheets and scripts, for whoever is logged in."""

    scope = SELF

    def check_reading(self) -> None:
        """Pages load them, which is no visit; they say nothing of anybody."""

    def initialize(self, path: str) -> None:  # type: ignore[override]
        """``path``: the directory of the files."""
        Page.initialize(self)
        StaticFileHandler.initialize(self, path)

    def set_extra_headers(self, path: str) -> None:
        """A browser asks again whether they have changed."""
        self.set_header("Cache-Control", "private, no-cache")


class NotFound(Page):
    """Whatever else is asked for: strangers learn no more of it than of a page."""

    scope = SELF

    async def prepare(self) -> None:
        """There is nothing."""
        await super().prepare()
        if not self._finished:
            raise HTTPError(404)


class Callback(HubOAuthCallbackHandler, Guarded):
    """Where the hub sends visitors with a code, which becomes the service's cookie. JupyterHub's, with our headers."""

    _visitor: str | None = None

    def initialize(self, **_: Any) -> None:
        """The hub's client."""
        super().initialize()
        self.hub_auth = self.door.auth

    async def prepare(self) -> None:
        """Whoever has logged in meanwhile, in another tab, goes on."""
        self.check_host()
        try:
            known = await self.door.who(self, anew=False)
        except Refused:
            known = None
        self._visitor = known.name if known else None

    def get_current_user(self) -> str | None:
        """For JupyterHub."""
        return self._visitor

    async def get(self) -> None:
        """The code for a cookie; that somebody came in is an event."""
        await HubOAuthCallbackHandler.get(self)
        token = getattr(self, "_hub_auth_token_cookie", "")
        if token:
            model: Mapping[str, Any] = await self.hub_auth.user_for_token(
                token, session_id=self.hub_auth.get_session_id(self), sync=False
            )
            scopes = ", ".join(scope for scope in OURS if scope in model.get("scopes", ()))
            self.desk.note(ConsoleEntered(scopes=scopes, source=self.request.remote_ip or ""), str(model["name"]))
