"""Alerts: what somebody has to look at, each with its evidence; and the acknowledgement, which is an event."""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_hpcsec.audit import values
from jupyter_hpcsec.audit.alert_index import AlertQuestion
from jupyter_hpcsec.audit.alert_states import ACKNOWLEDGED, Alert
from jupyter_hpcsec.audit.alerts import SEVERITIES, WATCHED
from jupyter_hpcsec.audit.events import Object
from jupyter_hpcsec.audit.index import Index
from jupyter_hpcsec.audit.kinds.oversight import AlertAcknowledged
from jupyter_hpcsec.audit.text import clean
from jupyter_hpcsec.console.desk import COUNTED
from jupyter_hpcsec.console.page import ALERT, READ, Page
from jupyter_hpcsec.console.views import alerts as view
from jupyter_hpcsec.errors import Malformed, Refused
from jupyter_hpcsec.ops.audit.reading import Record

EVENTS = 50
"""Events of an alert on its page, the newest."""
NOTE = "note"
NOTE_LIMIT = 1000
INDEXED_S = 10.0
"""For how long the page waits for its index to know an acknowledgement, which is on record by then."""
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Alerts(Page):
    """``alerts``: open ones, or those that the form asks for."""

    scope = READ
    label = "Alerts"

    async def get(self) -> None:
        """A page of them, the newest first."""
        given = {name: self.field(name) for name in ("state", "name", "severity", "user", "session", "before")}
        asked = view.question(**given)

        def look(_: Record, index: Index) -> tuple[list[Alert], dict[str, int]]:
            return index.alerts(asked), index.open_alerts(COUNTED)

        found, counts = await self.desk.record.run(look)
        await self.tell_read("alerts", view.asked(asked), min(len(found), view.PAGE))
        self.show("alerts.html", **shown(asked, found, counts, given))


def shown(
    asked: AlertQuestion, found: Sequence[Alert], counts: Mapping[str, int], given: Mapping[str, str]
) -> dict[str, Any]:
    """What the page's template shows."""
    return {
        "rows": [view.shown(alert) for alert in found[: view.PAGE]],
        "counts": [(severity, view.TONES[severity], counts.get(severity, 0)) for severity in SEVERITIES],
        "counted": COUNTED,
        "more": view.next_page(asked, found),
        "asked": {**given, "state": given["state"] or "open"},
        "states": view.STATES,
        "severities": SEVERITIES,
        "names": [(name, each.title) for name, each in WATCHED.items()],
    }


class One(Page):
    """``alerts/NUMBER``: one alert with its events."""

    scope = READ

    async def get(self, number: str) -> None:
        """All of it, the notes of acknowledgements too."""
        alert, events = await self.desk.record.run(lambda record, index: one(record, index, int(number)))
        await self.tell_read("alerts", f"alert={number}", len(events), with_values=True)
        self.show(
            "alert.html",
            alert=view.shown(alert),
            events=events,
            limit=EVENTS,
            may_acknowledge=self.reader.may(ALERT),
            note_limit=NOTE_LIMIT,
        )


def one(record: Record, index: Index, number: int) -> tuple[Alert, list[view.Happened]]:
    """An alert with its newest events; ``Refused`` where there is none of this number."""
    alert = _existing(index, number)
    finder = values.Finder(record.layout)
    found = []
    for event in record.events(index.alert_events(number, limit=EVENTS)):
        note, missing = None, ""
        if event.event["kind"] == ACKNOWLEDGED and NOTE in event.event.get("sealed", {}):
            note = _note(finder, event.leaf, event.event["sealed"][NOTE])
            missing = "" if note is not None else "The note is not there any more, or is not the one that was written."
        found.append(view.happened(event.leaf, event.event, note, missing))
    return alert, found


def _note(finder: values.Finder, leaf: int, commitment: str) -> str | None:
    """The note that was sealed: the one that the event commits to, or none."""
    for kept in finder.find(leaf):
        if kept.name == NOTE and kept.value is not None:
            is_it = values.commitment(kept.salt, kept.name, kept.value) == commitment
            return clean(kept.value, NOTE_LIMIT) if is_it else None
    return None


def _existing(index: Index, number: int) -> Alert:
    alert = index.alert(number)
    if alert is None or alert.state == "counting":
        raise Refused("alert.unknown", "There is no such alert.")
    return alert


class Acknowledge(Page):
    """``alerts/NUMBER/acknowledge``: the form of that page."""

    scope = ALERT

    async def post(self, number: str) -> None:
        """Record it, and only then say so. It counts for what was on the reader's page (``seen``)."""
        # 1. The form: a note for whoever comes later, and what was seen.
        note = " ".join(self.get_body_argument("note", "").split())
        if not any(map(str.isalnum, note)):
            raise Malformed("Write a note: what did you find, and what was done?")
        if len(note) > NOTE_LIMIT:
            raise Malformed(f"The note is longer than {NOTE_LIMIT} characters.")
        seen = self.field("seen")
        if not _ID.fullmatch(seen):
            raise Malformed("The form does not say what you have seen: open the alert again.")
        # 2. The alert, as it is now.
        alert = await self.desk.record.run(lambda _, index: _existing(index, int(number)))
        if alert.state != "open":
            raise Refused("alert.not-open", "Nobody has to look at this alert any more: it is not open.")
        # 3. The event, with the note sealed beside it; durable when this returns.
        event = AlertAcknowledged(
            alert=alert.id, seen=seen, rule=alert.name, object=Object(type="alert", name=f"alert {number}")
        )
        await self.desk.gateway.console_event(event, self.reader.name, note=clean(note, NOTE_LIMIT))
        # 4. The page that shows it, once the index does.
        await self._indexed(alert)
        self.redirect(f"{self.desk.settings.prefix}alerts/{int(number)}", status=303)

    async def _indexed(self, before: Alert) -> None:
        end = time.monotonic() + INDEXED_S
        while time.monotonic() < end:
            newest = await self.desk.record.run(lambda _, index: index.alert_events(before.number, limit=1))
            if newest and newest[0] > before.last:
                return
            await asyncio.sleep(0.1)


ROUTES: list[tuple[str, type[Page]]] = [
    ("alerts", Alerts),
    (r"alerts/([0-9]{1,15})", One),
    (r"alerts/([0-9]{1,15})/acknowledge", Acknowledge),
]
