"""The pages that ``hpcsec bench console`` measures, rendered as the service does, without its network."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from jupyter_hpcsec.audit.alert_index import AlertQuestion
from jupyter_hpcsec.audit.index import Index
from jupyter_hpcsec.audit.question import Question
from jupyter_hpcsec.console.desk import COUNTED
from jupyter_hpcsec.console.pages.alerts import EVENTS
from jupyter_hpcsec.console.pages.alerts import one as one_alert
from jupyter_hpcsec.console.pages.alerts import shown as listed
from jupyter_hpcsec.console.pages.integrity import SILENT, look
from jupyter_hpcsec.console.pages.live import ALERTS, beside
from jupyter_hpcsec.console.pages.session import PAGE, asked
from jupyter_hpcsec.console.templating import environment
from jupyter_hpcsec.console.views import alerts as view
from jupyter_hpcsec.console.views import live, me, search, session
from jupyter_hpcsec.console.views.integrity import health
from jupyter_hpcsec.console.views.timeline import KEYS, REFUSALS, USUAL
from jupyter_hpcsec.ops.audit.reading import Record
from jupyter_hpcsec.ops.audit.sessions import story
from jupyter_hpcsec.ops.bench.console import STORE
from jupyter_hpcsec.tunnel.store import Store

_SHARED: dict[str, Any] = {
    "prefix": "/services/hpcsec/",
    "logout": "/hub/logout",
    "home": "/hub/home",
    "path": "",
    "reader": None,
    "nav": [],
    "xsrf_token": "",
}
QUERIES: Mapping[str, dict[str, str]] = {
    "search: everything": {"since": "2000-01-01"},
    "search: newest refusals": {"decision": "refused", "newest": "1"},
    "search: a user with a tenth of all": {"user": "user0"},
    "search: a user's downloads": {"user": "user7", "kind": "file.*"},
    "search: a path": {"path": "data/project-12/*"},
    "search: words": {"text": "allowed parquet"},
    "search: a common word of a user on a node": {"text": "get", "user": "user3", "node": "node3"},
    "search: a rule in a time": {"rule": "access.*", "since": "1d", "newest": "1"},
}


def pages(session_id: str, owner: str) -> dict[str, Callable[[Record, Index], str]]:
    """What is measured, by name: all pages that read the record, over a long session and its owner's where one is
    needed."""
    templates = environment()

    def rendered(template: str, **values: Any) -> str:
        return templates.get_template(template).render(_SHARED | values)

    def answers(query: dict[str, str]) -> Callable[[Record, Index], str]:
        def make(record: Record, index: Index) -> str:
            form = search.form({name: [value] for name, value in query.items()}, datetime.now(UTC))
            leaves = index.ask(search.ask_one_more(form.question))
            shown = record.events(leaves[: form.question.limit])
            return rendered("search.html", **search.answered(form, leaves, shown))

        return make

    def timeline(groups: tuple[str, ...], part: float = 0.0) -> Callable[[Record, Index], str]:
        def make(record: Record, index: Index) -> str:
            start = int(part * index.covered)
            found = story(record, index, session_id, **asked(groups), start=start, size=PAGE)
            return rendered("session.html", page=session.page(found, groups, start), own=False, may_end=True)

        return make

    def running(record: Record, index: Index) -> str:
        asked = live.question("", "", "", "", "")
        with closing(Store(record.layout.directory.parent / STORE)) as store:
            rows, total = store.page(asked)
        shown = [asdict(row) for row in rows[: asked.limit]]
        answer = {"sessions": shown, "total": total, "more": len(rows) > asked.limit}
        page = live.page(answer, asked, beside(record, index, [each["id"] for each in shown]))
        return rendered("live.html", page=page, notice="", now=time.time(), counted=ALERTS, may_end=True)

    def alerts(record: Record, index: Index) -> str:
        given = dict.fromkeys(("state", "name", "severity", "user", "session", "before"), "")
        asked = view.question(**given)
        return rendered("alerts.html", **listed(asked, index.alerts(asked), index.open_alerts(COUNTED), given))

    def alert(record: Record, index: Index) -> str:
        (longest,) = index.alerts(AlertQuestion(session=session_id, limit=1))
        found, events = one_alert(record, index, longest.number)
        shown = view.shown(found)
        return rendered("alert.html", alert=shown, events=events, limit=EVENTS, may_acknowledge=True, note_limit=1000)

    def integrity(record: Record, index: Index) -> str:
        found = look(record, index, {})
        shown = {"health": health({}, 0.0), "waiting": 0, "age": 0.0, "last": None, "is_running": False}
        return rendered("integrity.html", found=found, silent_limit=SILENT, **shown)

    def mine(record: Record, index: Index) -> str:
        leaves = index.ask(Question(user=owner, kind="session.registered", newest=True, limit=26))
        sessions = me.own(record.events(leaves), owner)
        kept = me.kept(index.kinds_of_user(owner))
        return rendered("me.html", sessions=sessions, kept=kept, looks=None, more="", is_first=True)

    return {
        **{name: answers(query) for name, query in QUERIES.items()},
        "session: the usual": timeline(USUAL),
        "session: a page of its last tenth": timeline(USUAL, 0.9),
        "session: everything": timeline(KEYS),
        "session: refusals": timeline((REFUSALS,)),
        "live": running,
        "alerts": alerts,
        "alerts: one that occurred often": alert,
        "integrity": integrity,
        "me": mine,
    }
