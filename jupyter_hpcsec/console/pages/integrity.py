"""Integrity: how the record is, what is missing from it, who would notice a change; and its verification."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_hpcsec.audit import secondplace
from jupyter_hpcsec.audit.alert_index import AlertQuestion
from jupyter_hpcsec.audit.alert_states import Alert
from jupyter_hpcsec.audit.index import Index
from jupyter_hpcsec.audit.notes import Checkpoint
from jupyter_hpcsec.audit.question import Question
from jupyter_hpcsec.audit.sinks.lag import states
from jupyter_hpcsec.console.page import READ, Page
from jupyter_hpcsec.console.verify_worker import Order
from jupyter_hpcsec.console.views import integrity as view
from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.ops.audit.reading import Record

SILENT = 100
"""Silent sessions that are shown."""


@dataclass(frozen=True)
class Found:
    """What the record's files say."""

    checkpoint: Checkpoint
    signed_at: float
    key: str
    second: view.Line
    gaps: list[view.Gap]
    silent: list[Alert]
    sinks: list[view.Sink]
    sinks_error: str


class Integrity(Page):
    """``integrity``."""

    scope = READ
    label = "Integrity"

    async def get(self) -> None:
        """What is known without reading every event."""
        audit: Mapping[str, Any] = (await self.desk.gateway.status()).get("audit", {})
        now = time.time()
        found = await self.desk.record.run(lambda record, index: look(record, index, audit))
        await self.tell_read("integrity", "", len(found.gaps))
        self.show(
            "integrity.html",
            found=found,
            health=view.health(audit, now),
            silent_limit=SILENT,
            waiting=max(0, int(audit.get("durable", 0)) - found.checkpoint.size),
            age=max(0.0, now - found.signed_at),
            last=self.desk.verifying.last,
            is_running=self.desk.verifying.is_running,
        )


def look(record: Record, index: Index, audit: Mapping[str, Any]) -> Found:
    """What the record's files say now; ``audit`` is the gateway's word on it."""
    # the second place first: what is under it was under the checkpoint by then
    second = _second(record, str(audit.get("second_place", "")))
    checkpoint = record.reader.checkpoint()
    leaves = sorted(
        (leaf for kind in view.GAP_KINDS for leaf in index.ask(Question(kind=kind, newest=True, limit=view.GAPS))),
        reverse=True,
    )
    sinks, sinks_error = _sinks(record, str(audit.get("forward", "")))
    standing = [each for each in index.alerts(AlertQuestion(name="session.silent", limit=SILENT)) if each.standing]
    return Found(
        checkpoint=checkpoint,
        signed_at=record.layout.checkpoint.stat().st_mtime if checkpoint.size else 0.0,
        key=str(record.verifier),
        second=view.second(second, checkpoint),
        gaps=[view.gap(each.leaf, each.event) for each in record.events(leaves[: view.GAPS])],
        silent=standing,
        sinks=sinks,
        sinks_error=sinks_error,
    )


def _second(record: Record, path: str) -> Checkpoint | str | None:
    """The newest checkpoint of the second place, why it can't be read, or None where there is no place or nothing."""
    if not path:
        return None
    try:
        return secondplace.newest(Path(path), record.verifier, record.verifier.name)
    except HpcsecError as error:
        return error.reason


def _sinks(record: Record, state: str) -> tuple[list[view.Sink], str]:
    if not state:
        return [], ""
    try:
        return [view.sink(each) for each in states(record.layout.directory, Path(state))], ""
    except HpcsecError as error:
        return [], error.reason


class Verify(Page):
    """``integrity/verify``: the button begins, the page shows how far it is and what was found."""

    scope = READ

    async def get(self) -> None:
        """The one that runs, or the last one. What was found is shown to whom that is on record for."""
        last = self.desk.verifying.last
        if last is not None and last.state != "running":
            await self.tell_read("verify", "", last.outcome.size)
        self.show("verify.html", last=last, seconds=time.time() - last.began if last else 0.0)

    async def post(self) -> None:
        """Begin one: an event in the reader's name, then a process; ``Refused`` while another one runs."""
        audit = (await self.desk.gateway.status()).get("audit", {})
        order = Order(
            directory=str(self.desk.settings.record),
            second_place=str(audit.get("second_place", "")),
            witness=str(audit.get("witness_key", "")),
            cosigned=str(audit.get("cosigned", "")),
            with_index=self.field("index") == "yes",
        )
        await self.desk.verifying.begin(order, self.reader.name, int(audit.get("published", 0)))
        self.redirect(f"{self.desk.settings.prefix}integrity/verify", status=303)


ROUTES: list[tuple[str, type[Page]]] = [("integrity", Integrity), ("integrity/verify", Verify)]
