"""Events as messages of RFC 5424, framed for TLS by RFC 5425. Pure.

The structured data has the event's fields, the message is the event as JSON in ASCII: one line, no control character.
"""

from jupyter_hpcsec.audit.ocsf import HIGH, INFORMATIONAL, LOW, MEDIUM, severity_of
from jupyter_hpcsec.audit.sinks.items import Item

SEVERITIES = {INFORMATIONAL: 6, LOW: 5, MEDIUM: 4, HIGH: 3}
"""Informational, notice, warning, error (RFC 5424, 6.2.1)."""
APP_NAME = "hpcsec"
NIL = "-"

_FIELDS = ("id", "kind", "producer", "seq", "boot", "trust", "session", "server", "job", "node", "source", "decision",
           "rule", "policy", "reason")  # fmt: skip
_SUBJECT = ("login", "user", "impersonator", "account")


def header_field(value: str, limit: int) -> str:
    """A field of the header: printable ASCII without spaces, at most ``limit``; ``-`` where nothing is left (6.2)."""
    return "".join(c if "!" <= c <= "~" else "_" for c in value[:limit]) or NIL


def parameter(name: str, value: str) -> str:
    r"""``NAME="VALUE"`` with ``"``, ``\`` and ``]`` escaped (6.3.3)."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
    return f'{name}="{escaped}"'


def structured_data(item: Item, enterprise: int) -> str:
    """One element with what is not empty of the event's common fields, and its leaf's number."""
    event = item.event
    found = [parameter("leaf", str(item.leaf))]
    found += [parameter(name, str(event[name])) for name in _FIELDS if event.get(name, "") != ""]
    subject = event.get("subject", {})
    found += [parameter(name, subject[name]) for name in _SUBJECT if subject.get(name)]
    if event.get("object", {}).get("name"):
        found.append(parameter("object", event["object"]["name"]))
    return f"[event@{enterprise} {' '.join(found)}]"


def message(item: Item, *, form: str, facility: int, enterprise: int, hostname: str) -> bytes:
    """One message (RFC 5424, 6). Its JSON is ASCII, so that no byte order mark is called for (6.4)."""
    event = item.event
    priority = facility * 8 + SEVERITIES[severity_of(event)]
    name, kind = header_field(hostname, 255), header_field(event["kind"], 32)
    header = f"<{priority}>1 {event['time']} {name} {APP_NAME} {NIL} {kind}"
    text = item.ascii_line(form)
    return f"{header} {structured_data(item, enterprise)} ".encode() + text


def framed(data: bytes) -> bytes:
    """``MSG-LEN SP SYSLOG-MSG`` (RFC 5425, 4.3)."""
    return b"%d %b" % (len(data), data)
