"""The name of a job's agent: one SPIFFE-style URI, in one spelling only.

``spiffe://<trust domain>/user/<name>/server/<name>/job/<id>/session/<id>``. SPIFFE IDs know no percent-encoding,
user names of real sites need it (``alice@hlrs.de``), so that names beyond letters, digits and ``-._~`` are
percent-encoded as RFC 3986 says; tools that insist on SPIFFE's letters see such names as foreign. Pure: text in,
values out.
"""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, unquote

from jupyter_hpcsec.errors import Malformed

URI_LIMIT = 2048
"""Characters (SPIFFE-ID, 2.3)."""
NAME_LIMIT = 255
"""UTF-8 bytes of a user, server or job name: what JupyterHub's database holds."""

_DEFAULT_SERVER = "-"
_TRUST_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?")
_SESSION = re.compile(r"[0-9a-f]{32}")


def check_trust_domain(trust_domain: str) -> str:
    """Return ``trust_domain`` where it is one (SPIFFE-ID, 2.1), else raise :class:`Malformed`."""
    if not isinstance(trust_domain, str) or not _TRUST_DOMAIN.fullmatch(trust_domain):
        raise Malformed("a trust domain consists of lower-case letters, digits, dots, dashes and underscores")
    return trust_domain


@dataclass(frozen=True)
class JobSubject:
    """Whose job an agent speaks for; ``server`` is empty for the default server. :class:`Malformed` if no URI fits."""

    trust_domain: str
    user: str
    server: str
    job: str
    session: str

    def __post_init__(self) -> None:
        check_trust_domain(self.trust_domain)
        if not _SESSION.fullmatch(self.session):
            raise Malformed("a session id consists of 32 lower-case hexadecimal digits")
        if not self.user or not self.job:
            raise Malformed("a subject needs a user and a job")
        if len(self.uri) > URI_LIMIT:
            raise Malformed(f"the names of user, server and job make a URI of more than {URI_LIMIT} characters")

    @property
    def uri(self) -> str:
        """The subject in its one spelling."""
        # "-" is the default server's, so a server that is really called "-" is written %2D.
        server = _encode(self.server).replace("-", "%2D") if self.server == _DEFAULT_SERVER else _encode(self.server)
        return (
            f"spiffe://{self.trust_domain}/user/{_encode(self.user)}/server/{server or _DEFAULT_SERVER}"
            f"/job/{_encode(self.job)}/session/{self.session}"
        )

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Read a subject from its URI; any other spelling of the same names is :class:`Malformed`."""
        if len(uri) > URI_LIMIT:
            raise Malformed(f"an agent's URI has at most {URI_LIMIT} characters")
        words = uri.split("/")
        if len(words) != 11 or words[:2] != ["spiffe:", ""] or words[3::2] != ["user", "server", "job", "session"]:
            raise Malformed("that is not the URI of a job's agent")
        user, server, job = (_decode(word) for word in words[4:10:2])
        subject = cls(words[2], user, "" if words[6] == _DEFAULT_SERVER else server, job, words[10])
        if subject.uri != uri:
            raise Malformed("the URI of a job's agent is not in its canonical spelling")
        return subject


def _encode(name: str) -> str:
    try:
        if len(name.encode()) > NAME_LIMIT:
            raise Malformed(f"a name has at most {NAME_LIMIT} bytes")
    except UnicodeEncodeError as error:
        raise Malformed("a name holds characters that are not Unicode text") from error
    # RFC 3986, 6.2.2.3 removes dot segments: as whole names "." and ".." must not look like one.
    return name.replace(".", "%2E") if name in {".", ".."} else quote(name, safe="")


def _decode(word: str) -> str:
    try:
        return unquote(word, errors="strict")
    except UnicodeDecodeError as error:
        raise Malformed("the URI of a job's agent does not hold UTF-8") from error
