"""Live: the sessions that run now; and ending one, with a reason, after a second look."""

import time
from collections.abc import Sequence

from jupyter_hpcsec.audit.index import Index
from jupyter_hpcsec.console.page import END, READ, Page
from jupyter_hpcsec.console.views import live
from jupyter_hpcsec.console.views.live import UNTOLD, Beside
from jupyter_hpcsec.errors import HpcsecError, Refused
from jupyter_hpcsec.ops.audit.reading import Record

ALERTS = 100
"""Open alerts of one session that are counted."""
WATCHED_S = 300.0
"""Between two events of one reader whose open page asks again by itself."""
REASON_LIMIT = 200


def beside(record: Record, index: Index, sessions: Sequence[str]) -> Beside:
    """What the record says of these sessions."""
    told = record.events(
        sorted({*index.newest_of_kind(sessions, "gpu.use"), *index.newest_of_kind(sessions, "gpu.watch")})
    )

    def numbers(kind: str, name: str) -> dict[str, int]:
        return {str(e["session"]): int(e.get(name, 0)) for each in told if (e := each.event)["kind"] == kind}

    return Beside(
        alerts=index.open_alerts_by_session(sessions, ALERTS),
        gpus={session: count for session, count in numbers("gpu.watch", "devices").items() if count},
        gpu_memory=numbers("gpu.use", "memory"),
    )


class Live(Page):
    """``live``, and ``live/rows``: the table alone, for the page's own script."""

    scope = READ
    label = "Live"

    async def get(self) -> None:
        """One page of them."""
        user, node, project = (self.field(name, 255) for name in ("user", "node", "project"))
        asked = live.question(user, node, project, self.field("order", 16), self.field("after", 300))
        answer = await self.desk.gateway.session_page(asked)
        await self.tell(live.as_query(asked), len(answer["sessions"]))
        sessions = [str(each["id"]) for each in answer["sessions"]]
        notice = ""
        try:
            found = await self.desk.record.run(lambda record, index: beside(record, index, sessions))
        except HpcsecError as error:
            found, notice = UNTOLD, f"Alerts and GPUs are not shown: {error.reason}"
        page = live.page(answer, asked, found)
        self.show(
            self.template, page=page, notice=notice, now=time.time(), counted=ALERTS, may_end=self.reader.may(END)
        )

    template = "live.html"

    async def tell(self, query: str, found: int) -> None:
        """That somebody looks is an event each time that they open the page."""
        await self.tell_read("live", query, found)


class Rows(Live):
    """What an open page asks for by itself: an event at its first time and every ``WATCHED_S`` seconds."""

    label = ""
    template = "live_rows.html"

    async def tell(self, query: str, found: int) -> None:
        """A page that stays open all day is no thousand events."""
        watched: dict[tuple[str, str], float] = self.settings.setdefault("watched", {})
        key, now = (self.reader.name, query), time.monotonic()
        if now - watched.get(key, -WATCHED_S) >= WATCHED_S:
            await self.tell_read("live", f"{query} (kept open)".strip(), found)
            for old in [each for each, at in watched.items() if now - at >= WATCHED_S]:
                del watched[old]
            watched[key] = now


class End(Page):
    """``live/end/ID``: asks for the reason; shows what will end; ends it."""

    scope = END

    async def get(self, session: str) -> None:
        """The form for the reason."""
        facts = await self.running(session)
        self.show("end.html", row=facts, step="reason", reason="", limit=REASON_LIMIT, now=time.time())

    async def post(self, session: str) -> None:
        """First the second look, then the end."""
        reason = self.field("reason", REASON_LIMIT)
        facts = await self.running(session)
        shared = {"row": facts, "reason": reason, "told": self.told(reason), "limit": REASON_LIMIT, "now": time.time()}
        if not any(map(str.isalnum, reason)):  # nor what is not seen
            self.set_status(400)
            self.show(
                "end.html", step="reason", problem="Say why: the user is shown it, and it is on record.", **shared
            )
        elif self.field("confirmed", 8) != "yes":
            self.show("end.html", step="confirm", **shared)
        else:
            await self.desk.gateway.end(session, self.told(reason), on_behalf=self.reader.name)
            state = str((await self.desk.gateway.show(session))["state"])
            self.show("end.html", step="done" if state == "ended" else "failed", **shared)

    def told(self, reason: str) -> str:
        """What the user reads: by whom, where the site shows people who acts on their sessions. It is on record."""
        return f"{self.reader.name}: {reason}" if self.desk.settings.show_readers else reason

    async def running(self, session: str) -> live.Row:
        """The session, which has to run; ``Refused``. Who looks at it here is on record like on Live."""
        facts = await self.desk.gateway.show(session)
        if facts["state"] == "ended":
            raise Refused("session.ended", f"The session has ended already: {facts['reason']}")
        await self.tell_read("live", f"session={session} (to end it)", 1)
        return live.row(facts, UNTOLD)


SESSION = "([0-9a-f]{32})"
ROUTES: list[tuple[str, type[Page]]] = [("live", Live), ("live/rows", Rows), (f"live/end/{SESSION}", End)]
