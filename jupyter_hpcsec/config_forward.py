"""Settings of ``hpcsec audit forward``, as traitlets: where the audit record's events go.

An admin writes ``c.HpcsecForward.sinks = {"siem": {"type": "syslog", ...}}`` (see ``hub_config``).
Each sink's settings are one closed type: what is misspelt is refused, with its name. Secrets are names of files, 0600.
"""

import re
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from traitlets import Dict, TraitError, Unicode
from traitlets.config import Configurable

from jupyter_hpcsec.config import DEFAULT_ADMIN_SOCKET

DEFAULT_RECORD = "/var/lib/hpcsec/audit"
DEFAULT_STATE = "/var/lib/hpcsec/forward"

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_AbsolutePath = Annotated[str, Meta(pattern=r"^/[^\x00]*\Z")]
_File = Annotated[str, Meta(pattern=r"^(/[^\x00]*)?\Z")]
_Text = Annotated[str, Meta(min_length=1, max_length=255)]
_Port = Annotated[int, Meta(ge=1, le=65535)]


class Sink(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """What all sinks have.

    ``format``: events as they are recorded, or as OCSF. ``unsafe_sealed_values``: True sends along what is sealed (the
    sources of cells, say); it can't be shredded any more where it went. ``batch``: events that are sent at once.
    """

    format: Literal["native", "ocsf"] = "native"
    unsafe_sealed_values: bool = False
    batch: Annotated[int, Meta(ge=1, le=10_000)] = 500
    timeout_s: Annotated[float, Meta(gt=0, le=600)] = 30.0


class TlsSink(Sink, frozen=True, kw_only=True):
    """A sink over TLS. Empty ``ca_file``: the system's authorities. A client certificate needs both of its files."""

    ca_file: _File = ""
    certificate_file: _File = ""
    key_file: _File = ""


class FileSink(Sink, frozen=True, kw_only=True, tag="file"):
    """JSON lines at ``path``, rotated past ``rotate_bytes`` and at a day's first event (UTC); ``keep`` old files stay.

    Both rotations are off with 0 and False: logrotate may do it, with or without ``copytruncate``.
    """

    path: _AbsolutePath
    rotate_bytes: Annotated[int, Meta(ge=0)] = 0
    rotate_daily: bool = False
    keep: Annotated[int, Meta(ge=1, le=10_000)] = 30


class SyslogSink(TlsSink, frozen=True, kw_only=True, tag="syslog"):
    """RFC 5424 over TLS (RFC 5425).

    ``server_name``: what the certificate has to name, where that is not ``host``. ``facility`` 13 is "log audit".
    ``enterprise``: your site's IANA private enterprise number, for the structured data's name; 32473 is for examples.
    ``window`` events, or those of ``settle_s`` seconds, are sent again after a connection that broke.
    """

    host: _Text
    port: _Port = 6514
    server_name: str = ""
    facility: Annotated[int, Meta(ge=0, le=23)] = 13
    enterprise: Annotated[int, Meta(ge=1)] = 32473
    window: Annotated[int, Meta(ge=1, le=1_000_000)] = 5000
    settle_s: Annotated[float, Meta(gt=0, le=3600)] = 10.0


class OpenSearchSink(TlsSink, frozen=True, kw_only=True, tag="opensearch"):
    """The bulk call of OpenSearch, or of Elasticsearch.

    ``index`` may have strftime's codes for the event's time (``hpcsec-audit-%Y.%m``). ``password_file`` is 0600.
    """

    urls: Annotated[list[_Text], Meta(min_length=1, max_length=32)]
    index: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._%YmdjHGV-]{0,199}\Z")] = "hpcsec-audit"
    username: str = ""
    password_file: _File = ""
    unsafe_no_tls: bool = False


class SplunkSink(TlsSink, frozen=True, kw_only=True, tag="splunk"):
    """Splunk's HTTP Event Collector. ``token_file`` is 0600. ``ack``: wait up to ``ack_s`` until events are indexed."""

    url: _Text
    token_file: _AbsolutePath
    index: str = ""
    source: _Text = "hpcsec"
    sourcetype: _Text = "hpcsec:audit"
    ack: bool = True
    ack_s: Annotated[float, Meta(gt=0, le=3600)] = 120.0
    unsafe_no_tls: bool = False


class KafkaSink(TlsSink, frozen=True, kw_only=True, tag="kafka"):
    """A topic of Kafka. ``servers`` are ``host:port``; ``message_bytes`` is the topic's largest message."""

    servers: Annotated[list[Annotated[str, Meta(pattern=r"^[^\s,/]+:[0-9]{1,5}\Z")]], Meta(min_length=1, max_length=64)]
    topic: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,249}\Z")]
    username: str = ""
    password_file: _File = ""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    message_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 1 << 20
    unsafe_no_tls: bool = False


SINKS = FileSink | SyslogSink | OpenSearchSink | SplunkSink | KafkaSink


@dataclass(frozen=True)
class ForwardSettings:
    """The forwarder's settings as values."""

    record: Path
    state: Path
    admin_socket: Path
    sinks: dict[str, SINKS]


def parse_sink(name: str, value: Any) -> SINKS:
    """One sink's settings; ``TraitError`` says what is wrong and where."""
    if not _NAME.fullmatch(name):
        raise TraitError(f"the sink's name {name!r} must be 1 to 32 of a-z, 0-9, _ and -, and begin with a letter")
    try:
        sink: SINKS = msgspec.convert(value, SINKS)
    except msgspec.ValidationError as exc:
        raise TraitError(f"sinks[{name!r}]: {exc}; see the admin guide, Forward the record") from exc
    if isinstance(sink, TlsSink) and bool(sink.certificate_file) != bool(sink.key_file):
        raise TraitError(f"sinks[{name!r}]: a client certificate needs both certificate_file and key_file")
    if isinstance(sink, OpenSearchSink | KafkaSink) and bool(sink.username) != bool(sink.password_file):
        raise TraitError(f"sinks[{name!r}]: a user needs both username and password_file")
    if isinstance(sink, OpenSearchSink | SplunkSink):
        _https_only(name, [sink.url] if isinstance(sink, SplunkSink) else sink.urls, unsafe=sink.unsafe_no_tls)
    return sink


def _https_only(name: str, urls: list[str], *, unsafe: bool) -> None:
    """``TraitError`` for what is no URL of a server, or would send events in the clear without being told to."""
    for url in urls:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise TraitError(f"sinks[{name!r}]: {url!r} must be https://HOST:PORT, without a user or password in it")
        if parts.scheme == "http" and not unsafe:
            raise TraitError(f"sinks[{name!r}]: {url} has no TLS. Use https, or set unsafe_no_tls = True for a test.")


class HpcsecForward(Configurable):
    """The forwarder: sends the audit record's events to sinks, each at least once and in order."""

    audit_directory = Unicode(DEFAULT_RECORD, help="The audit record, as HpcsecGateway.audit_directory names it.").tag(
        config=True
    )

    state_directory = Unicode(
        DEFAULT_STATE,
        help="How far each sink is, and what it refused. 0700, owned by the gateway's user. The gateway's metrics look "
        "for it at HpcsecGateway.forward_directory.",
    ).tag(config=True)

    admin_socket = Unicode(
        DEFAULT_ADMIN_SOCKET, help="The gateway's: that events are forwarded, and where to, is an event itself."
    ).tag(config=True)

    sinks = Dict(help="Name -> settings of a sink; its type decides which there are. See the admin guide.").tag(
        config=True
    )

    def settings(self) -> ForwardSettings:
        """The settings as values; ``TraitError`` names what is wrong."""
        if not self.sinks:
            example = {"archive": {"type": "file", "path": "/srv/audit/events.jsonl"}}
            raise TraitError(f"no sink is configured: set c.HpcsecForward.sinks = {example!r}, say")
        return ForwardSettings(
            record=Path(self.audit_directory),
            state=Path(self.state_directory),
            admin_socket=Path(self.admin_socket),
            sinks={str(name): parse_sink(str(name), value) for name, value in self.sinks.items()},
        )
