"""Settings of ``hpcsec console``, as traitlets: where the security console listens, whom it asks, what it reads.

An admin writes ``c.HpcsecConsole.<name> = ...``; see ``hub_config/hpcsec_console_config.py``. Nothing here opens a
file or a socket.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traitlets import Bool, Integer, List, TraitError, Unicode, validate
from traitlets.config import Configurable

from jupyter_hpcsec.config import DEFAULT_ADMIN_SOCKET, peer_uid

DEFAULT_RECORD = "/var/lib/hpcsec/audit"
DEFAULT_LISTEN = "127.0.0.1:8445"
CACHE_LIMIT_S = 60

_LISTEN = re.compile(r"127\.0\.0\.1:([1-9][0-9]{0,4})")
_PREFIX = re.compile(r"/(?:[A-Za-z0-9_~-][A-Za-z0-9._~-]*/)+")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]")


@dataclass(frozen=True)
class ConsoleSettings:
    """The console's settings as values."""

    port: int
    prefix: str
    hub_api_url: str
    hub_prefix: str
    client_id: str
    api_token_file: Path | None
    admin_socket: Path
    record: Path
    peer_uids: frozenset[int]
    trusted_proxies: tuple[str, ...]
    hosts: tuple[str, ...]
    cache_s: int
    show_readers: bool


class HpcsecConsole(Configurable):
    """The security console: a service of JupyterHub's for security staff, and for everybody's own records."""

    listen = Unicode(
        DEFAULT_LISTEN,
        help="Where JupyterHub's proxy finds the console: 127.0.0.1:PORT. The hub's `services` gets the same as its "
        "url. Who connects is asked of the kernel: see proxy_users.",
    ).tag(config=True)

    proxy_users = List(
        Unicode(),
        help="Users (names or numbers) of JupyterHub's proxy and of the hub itself, on this host: connections of all "
        "others are closed unread. Root and the console's own user always may.",
    ).tag(config=True)

    base_url = Unicode("/services/hpcsec/", help="The path that the hub gives to the service of this name.").tag(
        config=True
    )

    hub_api_url = Unicode(
        "http://127.0.0.1:8081/hub/api", help="The Hub API as seen from this host; http+unix:// works too."
    ).tag(config=True)

    hub_base_url = Unicode("/", help="JupyterHub's base_url.").tag(config=True)

    client_id = Unicode("service-hpcsec", help="The service's OAuth client id: service-NAME.").tag(config=True)

    api_token_file = Unicode(
        help="File (0600, the console's user's) with the service's api_token. Empty where the hub starts the console: "
        "it then gives the token by the environment."
    ).tag(config=True)

    admin_socket = Unicode(
        DEFAULT_ADMIN_SOCKET, help="The gateway's: sessions, and that the record is read, which is an event itself."
    ).tag(config=True)

    audit_directory = Unicode(DEFAULT_RECORD, help="The audit record, as HpcsecGateway.audit_directory names it.").tag(
        config=True
    )

    trusted_proxies = List(
        Unicode(),
        help="Your own proxies in front of JupyterHub's, by address: they are believed where a visitor comes from.",
    ).tag(config=True)

    hosts = List(
        Unicode(),
        help="The names by which browsers reach the hub (without port). Requests for other names are refused. Empty: "
        "any well-formed one.",
    ).tag(config=True)

    cache_s = Integer(
        15,
        min=1,
        max=CACHE_LIMIT_S,
        help="Seconds for which the hub's word on a visitor is believed: a scope that was taken away, a token that was "
        "revoked, or a logout take effect within it. Whatever changes something asks the hub anew.",
    ).tag(config=True)

    show_readers = Bool(
        False,
        help="Whether people see on their own page who of the security staff read their records, and in their "
        "timeline, and in the reason that they are told, who acted on their sessions. Off: an inquiry stays unseen by "
        "whom it is about, and they read that the staff ended a session, and why, but not who. It is on record.",
    ).tag(config=True)

    @validate("listen")
    def _check_listen(self, proposal: dict[str, Any]) -> str:
        listen: str = proposal["value"]
        found = _LISTEN.fullmatch(listen)
        if not found or int(found[1]) > 65535:
            raise TraitError(
                f"HpcsecConsole.listen {listen!r} must be 127.0.0.1:PORT: only JupyterHub's proxy dials it"
            )
        return listen

    @validate("base_url", "hub_base_url")
    def _check_base_url(self, proposal: dict[str, Any]) -> str:
        url: str = proposal["value"]
        if not _PREFIX.fullmatch(url) and (url, proposal["trait"].name) != ("/", "hub_base_url"):
            raise TraitError(f"{proposal['trait'].name} {url!r} must be a plain path such as /services/hpcsec/")
        return url

    @validate("hosts")
    def _check_hosts(self, proposal: dict[str, Any]) -> list[str]:
        hosts: list[str] = proposal["value"]
        wrong = [host for host in hosts if not _HOST.fullmatch(host)]
        if wrong:
            raise TraitError(f"hosts: {wrong[0]!r} is no host's name; write it without scheme and port")
        return hosts

    def settings(self) -> ConsoleSettings:
        """The settings as values; ``TraitError`` names what is wrong."""
        return ConsoleSettings(
            port=int(self.listen.rpartition(":")[2]),
            prefix=self.base_url,
            hub_api_url=self.hub_api_url.rstrip("/"),
            hub_prefix=f"{self.hub_base_url}hub/",
            client_id=self.client_id,
            api_token_file=Path(self.api_token_file) if self.api_token_file else None,
            admin_socket=Path(self.admin_socket),
            record=Path(self.audit_directory),
            peer_uids=frozenset({0, os.geteuid(), *(peer_uid(name, "proxy_users") for name in self.proxy_users)}),
            trusted_proxies=tuple(self.trusted_proxies),
            hosts=tuple(host.lower() for host in self.hosts),
            cache_s=self.cache_s,
            show_readers=self.show_readers,
        )
