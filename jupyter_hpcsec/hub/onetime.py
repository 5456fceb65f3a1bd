"""Login of the quickstart: a link for each of one or two people, printed in the terminal, good for one use.

``OneTimeCode`` decides (pure but for ``publish``), ``OneTimeAuthenticator`` and its two handlers are the JupyterHub
shell around it. It may not be used for more people than share a terminal, and knows no passwords; whoever can read the
code files (the hub's own, 0600) can log in, as whoever can read the terminal.
"""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from jupyterhub.auth import Authenticator
from jupyterhub.handlers.base import BaseHandler
from tornado import web
from traitlets import Dict, TraitError, Unicode, default, validate

from jupyter_hpcsec.errors import HpcsecError, Refused, Unavailable

CODE = re.compile(r"[A-Za-z0-9_-]{43}")
"""256 random bits in unpadded base64url, the one form that is accepted."""

USED = "This link has been used already or was never valid. The terminal that runs hpcsec shows the current one."
CLOSED = "Open the one-time link that the terminal that runs hpcsec shows."
GOES_ON = "After each use it shows the next one. A notebook server that runs goes on, and its kernels with it."


def new_code() -> str:
    """256 bits of the system's randomness, as ``CODE`` wants them."""
    return secrets.token_urlsafe(32)


def _digest(code: str) -> bytes:
    return hashlib.sha256(code.encode("ascii")).digest()


class OneTimeCode:
    """The current code. ``publish`` gets each new one; the object itself keeps only its SHA-256."""

    def __init__(self, publish: Callable[[str], None], generate: Callable[[], str] = new_code) -> None:
        self._publish = publish
        self._generate = generate
        self._current: bytes | None = None

    def issue(self) -> None:
        """Make and publish a new code; the one before it is void, also when publishing fails."""
        self._current = None
        code = self._generate()
        if not CODE.fullmatch(code):
            raise AssertionError("BUG: the generator gave a code of another form")
        self._publish(code)
        self._current = _digest(code)

    def consume(self, presented: str) -> None:
        """Use the code up, or raise ``Refused``. Nothing is awaited, so that of two uses at once one is refused.

        1. One canonical form, which caps the size too.
        2. A code is current.
        3. The digests are equal, compared in constant time.
        4. The code is void from here on and the next one is published (``Unavailable``: nobody was let in).
        """
        if not CODE.fullmatch(presented):
            raise Refused("login.form", USED)
        if self._current is None:
            raise Refused("login.closed", CLOSED)
        if not hmac.compare_digest(_digest(presented), self._current):
            raise Refused("login.used", USED)
        self.issue()


def publish_to(path: Path) -> Callable[[str], None]:
    """A ``publish`` that replaces ``path`` atomically by a file of mode 0600 that holds the code and a newline."""

    def publish(code: str) -> None:
        draft = path.with_name(path.name + ".new")
        try:
            draft.unlink(missing_ok=True)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(code + "\n")
            draft.replace(path)
        except OSError as exc:
            raise Unavailable(f"The login link can't be written ({exc.strerror}): start again.") from exc

    return publish


PAGE = """\
{% extends "page.html" %}
{% block title %}{{ heading }}{% endblock %}
{% block login_widget %}{% if user %}{{ super() }}{% endif %}{% endblock %}
{% block main %}
<div class="container text-center" id="hpcsec-sentence">
<h1>{{ heading }}</h1>
{% for sentence in sentences %}
<p>{{ sentence }}</p>
{% endfor %}
{% if user %}
<p>In this browser you are logged in already.</p>
<a role="button" class="btn btn-lg btn-primary" href="{{ base_url }}home">Go on</a>
{% endif %}
</div>
{% endblock %}
"""
"""In JupyterHub's own frame, without its *Login* button, which would lead back to this page."""


class SentenceHandler(BaseHandler):
    """A page of one or two sentences, never cached, never named to another site."""

    def set_default_headers(self) -> None:
        """The hub's headers, and those that keep the code of the address bar here."""
        super().set_default_headers()
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-store")

    def get_template(self, name: str, sync: bool = False) -> Any:
        """JupyterHub's own templates by name, and ours, which is found nowhere else."""
        if name != PAGE:
            return super().get_template(name, sync)
        return self.settings["jinja2_env_sync" if sync else "jinja2_env"].from_string(PAGE)

    async def say(self, status: int, heading: str, *sentences: str) -> None:
        """Finish with a page that says these words."""
        self.set_status(status)
        self.finish(await self.render_template(PAGE, heading=heading, sentences=sentences))


class OneTimeHandler(SentenceHandler):
    """``GET /hub/onetime?code=…``: exchanges the code for the hub's login cookie, then leaves for the user's server."""

    async def get(self) -> None:
        """Only GET exists; the redirect takes the code out of the address bar."""
        codes = self.get_query_arguments("code", strip=False)
        try:
            if len(codes) != 1:
                raise Refused("login.form", USED)
            user = await self.login_user({"code": codes[0]})
        except HpcsecError as error:
            self.log.warning("One-time login refused: %s", error)
            await self.say(403 if isinstance(error, Refused) else 503, "This link lets nobody in", error.reason)
            return
        if user is None:
            raise AssertionError("BUG: the code was good but JupyterHub let nobody in")
        self.redirect(self.get_next_url(user), permanent=False)

    def append_query_parameters(self, url: str, exclude: object = None) -> str:
        """JupyterHub would hand the query, and so the code, on to the page after the login."""
        return url


class ClosedLoginHandler(SentenceHandler):
    """``/hub/login``: there is no form; says where the link is, and sends on whoever is logged in already."""

    async def get(self) -> None:
        """JupyterHub's own login page does the same for people with a cookie."""
        user = self.current_user
        if user is None:
            await self.say(403, "You are not logged in", CLOSED, GOES_ON)
            return
        self.set_login_cookie(user)
        self.redirect(self.get_next_url(user), permanent=False)

    async def post(self) -> None:
        """No password is accepted in any form."""
        raise web.HTTPError(405, CLOSED)


class OneTimeAuthenticator(Authenticator):
    """Lets exactly ``username`` and ``others`` in, once per code; each use publishes the person's next code."""

    username = Unicode(help="The one user, as the operating system spells the name. Required.").tag(config=True)
    code_file = Unicode(
        help="Absolute path of the file (0600, in a directory of mode 0700) that holds the current code. Required."
    ).tag(config=True)

    others = Dict(
        Unicode(), key_trait=Unicode(), help="Further people: name -> absolute path of the file with their code."
    ).tag(config=True)

    _codes: dict[str, OneTimeCode] | None = None

    handlers: ClassVar[list[tuple[str, type[SentenceHandler]]]] = [
        ("/onetime", OneTimeHandler),
        ("/login", ClosedLoginHandler),
    ]

    @default("any_allow_config")
    def _one_user_is_allowed(self) -> bool:
        return True

    @validate("code_file")
    def _check_code_file(self, proposal: dict[str, Any]) -> str:
        return self._checked(proposal["value"])

    @validate("others")
    def _check_others(self, proposal: dict[str, Any]) -> dict[str, str]:
        return {name: self._checked(path) for name, path in proposal["value"].items()}

    @staticmethod
    def _checked(code_file: str) -> str:
        path = Path(code_file)
        if not path.is_absolute():
            raise TraitError("OneTimeAuthenticator.code_file must be an absolute path.")
        mode = path.parent.stat().st_mode if path.parent.is_dir() else 0o777
        if mode & 0o077:
            raise TraitError(f"The directory of OneTimeAuthenticator.code_file must exist, mode 0700: {path.parent}")
        return str(path)

    def get_handlers(self, app: Any) -> list[tuple[str, type[SentenceHandler]]]:
        """Called once at the hub's start: the first code is published here, before the hub answers."""
        if not self.username or not self.code_file:
            raise TraitError("OneTimeAuthenticator needs both username and code_file.")
        files = {**self.others, self.username: self.code_file}
        self._codes = {name: OneTimeCode(publish_to(Path(path))) for name, path in files.items()}
        for code in self._codes.values():
            code.issue()
        return self.handlers

    async def authenticate(self, handler: BaseHandler, data: dict[str, str] | None) -> str:
        """The name of the person whose code it is, or ``Refused``; never ``None``: each refusal has its sentence."""
        if self._codes is None:
            raise AssertionError("BUG: a login before the hub asked for the handlers")
        refusal = Refused("login.closed", CLOSED)
        for name, code in self._codes.items():
            try:
                code.consume((data or {}).get("code", ""))
            except Refused as error:
                refusal = error
            else:
                return name
        raise refusal

    def normalize_username(self, username: str) -> str:
        """The operating system's spelling is kept: the job runs as exactly this user."""
        return username

    def check_allowed(self, username: str, authentication: object = None) -> bool:
        """Exactly these people; ``allowed_users`` can't widen it."""
        return username == self.username or username in self.others
