"""Events as the Open Cybersecurity Schema Framework writes them (OCSF 1.3, schema.ocsf.io). Pure.

``convert`` never fails for want of a table's row: a kind that nobody has mapped yet becomes a Base Event with all that
it says under ``unmapped``. What was refused stays in the class of what was tried, with its failure; findings are what
somebody should look at. The table is in the documentation ("Forward the record").
"""

import fnmatch
import functools
from dataclasses import dataclass
from datetime import datetime

from jupyter_hpcsec.audit.ocsf_classes import (
    API,
    AUTHENTICATION,
    BASE,
    DATASTORE,
    ENTITY,
    FILE,
    FINDING,
    HTTP,
    LIFECYCLE,
    METHODS,
    NETWORK,
    PROCESS,
    PRODUCT,
    Built,
    Class,
    Leaf,
)

OCSF_VERSION = "1.3.0"
INFORMATIONAL, LOW, MEDIUM, HIGH = 1, 2, 3, 4
SUCCESS, FAILURE = 1, 2
OTHER = 99

_SEVERITIES = {INFORMATIONAL: "Informational", LOW: "Low", MEDIUM: "Medium", HIGH: "High"}
_MAPPED = {"v", "id", "time", "kind", "seq", "producer", "session", "reason", "rule", "decision", "count"}


@dataclass(frozen=True)
class Row:
    """Kinds that match ``pattern`` are this activity of this class; ``severity`` where nothing was refused."""

    pattern: str
    of: Class
    activity: int
    severity: int = INFORMATIONAL


# -- the table: the first row that matches counts --------------------------------------------------------------------

TABLE = (
    Row("audit.opened", LIFECYCLE, 3),
    Row("audit.closed", LIFECYCLE, 4),
    Row("audit.read", DATASTORE, 4, LOW),
    Row("audit.exported", DATASTORE, 1, LOW),
    Row("audit.shredded", DATASTORE, 7, MEDIUM),
    Row("audit.pruned", DATASTORE, 7, LOW),
    Row("audit.gap", FINDING, 1, HIGH),
    Row("audit.*", FINDING, 1, MEDIUM),
    Row("clock.*", FINDING, 1, MEDIUM),
    Row("gateway.started", LIFECYCLE, 3),
    Row("gateway.stopped", LIFECYCLE, 4),
    Row("keys.*", ENTITY, 3, LOW),
    Row("admin.*", API, 99),
    Row("hub-api.*", API, 99),
    Row("hub.login*", AUTHENTICATION, 1),
    Row("hub.logout", AUTHENTICATION, 2),
    Row("hub.admin-access", AUTHENTICATION, 99, LOW),
    Row("hub.server", LIFECYCLE, 99),
    Row("hub.lost", FINDING, 1, MEDIUM),
    Row("hub.*", API, 99),
    Row("session.enrolled", AUTHENTICATION, 1),
    Row("enrolment.*", AUTHENTICATION, 1),
    Row("certificate.*", AUTHENTICATION, 5),
    Row("session.registered", ENTITY, 1),
    Row("session.cut", NETWORK, 3),
    Row("session.silent", FINDING, 1, MEDIUM),
    Row("session.ended", ENTITY, 4),
    Row("session.*", ENTITY, 3),
    Row("lane.opened", NETWORK, 1),
    Row("lane.closed", NETWORK, 2),
    Row("lane.refused", NETWORK, 5),
    Row("connection.refused", NETWORK, 5),
    Row("socket.refused", NETWORK, 5),
    Row("tap.refused", NETWORK, 5, MEDIUM),
    Row("http.*", HTTP, 99),
    Row("file.read", FILE, 2),
    Row("file.downloaded", FILE, 2),
    Row("file.written", FILE, 3),
    Row("file.deleted", FILE, 4),
    Row("file.renamed", FILE, 5),
    Row("upload.begun", FILE, 1),
    Row("upload.piece", FILE, 3),
    Row("upload.completed", FILE, 3),
    Row("upload.cancelled", FILE, 4),
    Row("kernel.started", PROCESS, 1),
    Row("kernel.restarted", PROCESS, 1),
    Row("kernel.shutdown", PROCESS, 2),
    Row("kernel.*", PROCESS, 99),
    Row("cell.*", PROCESS, 99),
    Row("terminal.opened", PROCESS, 1),
    Row("terminal.closed", PROCESS, 2),
    Row("terminal.*", PROCESS, 99),
    Row("gpu.alert", FINDING, 1, MEDIUM),
    Row("gpu.node-alert", FINDING, 1, MEDIUM),
    Row("gpu.disagreement", FINDING, 1, HIGH),
    Row("gpu.released", PROCESS, 2),
    Row("node.server-started", LIFECYCLE, 3),
    Row("node.server-ended", LIFECYCLE, 4),
    Row("node.kernel-started", PROCESS, 1),
    Row("node.kernel-*", PROCESS, 2),
    Row("node.terminal-*", PROCESS, 1),
    Row("node.upload-*", FILE, 3),
    Row("node.file-hashed", FILE, 2),
    Row("node.access-refused", FILE, 99),
    Row("node.request-refused", API, 99),
    Row("node.listen-refused", NETWORK, 5),
    Row("node.helper-enrolled", AUTHENTICATION, 1),
    Row("node.helper-silent", FINDING, 1, MEDIUM),
    Row("node.alarm", FINDING, 1, HIGH),
    Row("node.gap", FINDING, 1, HIGH),
    Row("node.lost", FINDING, 1, MEDIUM),
    Row("node.refused", FINDING, 1, MEDIUM),
    Row("*", BASE, 99),
)


@functools.cache
def row_of(kind: str) -> Row:
    """The row that counts for a kind."""
    return next(row for row in TABLE if fnmatch.fnmatchcase(kind, row.pattern))


def _milliseconds(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp() * 1000)


def _activity(row: Row, leaf: Leaf) -> tuple[int, str]:
    """Number and name; what OCSF has no activity for is 99, named by the event's kind."""
    activity = row.activity
    if row.of is HTTP:
        method = str(leaf.get("method", "")).capitalize()
        activity = next((uid for uid, name in METHODS.items() if name == method), OTHER)
    return activity, leaf["kind"] if activity == OTHER else row.of.activities[activity]


def severity_of(leaf: Leaf) -> int:
    """``INFORMATIONAL`` to ``HIGH``; a refusal is ``LOW`` at least."""
    severity = row_of(leaf["kind"]).severity
    return max(severity, LOW) if leaf.get("decision") == "refused" else severity


def _outcome(leaf: Leaf, row: Row) -> Built:
    """Status, severity and, where the class knows them, action and disposition."""
    refused, severity = leaf.get("decision") == "refused", severity_of(leaf)
    found: Built = {"severity_id": severity, "severity": _SEVERITIES[severity]}
    if leaf.get("decision"):
        found |= {"status_id": FAILURE, "status": "Failure"} if refused else {"status_id": SUCCESS, "status": "Success"}
    if "security_control" in row.of.profiles:
        allowed = {"action_id": 1, "action": "Allowed", "disposition_id": 1, "disposition": "Allowed"}
        denied = {"action_id": 2, "action": "Denied", "disposition_id": 2, "disposition": "Blocked"}
        found |= denied if refused else allowed
    if leaf.get("rule"):
        found["status_code"] = leaf["rule"]
    if leaf.get("reason"):
        found["status_detail"] = leaf["reason"]
    return found


def convert(leaf: Leaf) -> Built:
    """An event of the record (its leaf, as JSON gives it) as an OCSF event.

    ``metadata.uid`` is the event's id, ``metadata.sequence`` its producer's number, ``metadata.event_code`` its kind.
    """
    kind = leaf["kind"]
    row = row_of(kind)
    activity, activity_name = _activity(row, leaf)
    metadata: Built = {
        "version": OCSF_VERSION,
        "product": PRODUCT,
        "uid": leaf["id"],
        "sequence": leaf["seq"],
        "event_code": kind,
        "log_name": "hpcsec-audit",
        "log_provider": leaf["producer"],
        "original_time": leaf["time"],
        "labels": [f"trust:{leaf['trust']}"],
    }
    if row.of.profiles:
        metadata["profiles"] = list(row.of.profiles)
    if leaf.get("session"):
        metadata["correlation_uid"] = leaf["session"]
    found: Built = {
        "class_uid": row.of.uid,
        "class_name": row.of.name,
        "category_uid": row.of.category,
        "category_name": row.of.category_name,
        "activity_id": activity,
        "activity_name": activity_name,
        "type_uid": row.of.uid * 100 + activity,
        "type_name": f"{row.of.name}: {activity_name}",
        "time": _milliseconds(leaf["time"]),
        "message": leaf.get("reason") or kind,
        "metadata": metadata,
        **_outcome(leaf, row),
        **row.of.build(leaf),
    }
    if isinstance(leaf.get("count"), int):
        found["count"] = leaf["count"]
    found["unmapped"] = {name: value for name, value in leaf.items() if name not in _MAPPED}
    return found
