"""Session: one timeline from login to end; a session's replay and its bundle; one event with its proof."""

import json
import time
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from jupyter_hpcsec.audit.export import make_bundle, tar
from jupyter_hpcsec.audit.index import Index
from jupyter_hpcsec.audit.question import Question
from jupyter_hpcsec.console.download import Reading
from jupyter_hpcsec.console.page import END, READ, Page
from jupyter_hpcsec.console.views import session as view
from jupyter_hpcsec.console.views.timeline import GPU, REFUSALS, kinds_of
from jupyter_hpcsec.errors import Malformed, Refused
from jupyter_hpcsec.ops.audit import reading
from jupyter_hpcsec.ops.audit.reading import NOTEBOOK, Record
from jupyter_hpcsec.ops.audit.sessions import UNKNOWN, Story, owner_of, story

PAGE = 100
TAKEN = 100_000
"""Events that a replay or a bundle made here holds at most; the command line takes more."""


def asked(groups: Collection[str]) -> dict[str, Any]:
    """What a choice of groups asks of ``story``."""
    return {
        "kinds": lambda there: kinds_of(groups, there),
        "refusals": REFUSALS in groups,
        "with_use": GPU in groups,
    }


class Timeline(Reading):
    """A page of a session's timeline. ``own``: only the reader's own sessions are there."""

    own = False

    async def get(self, session: str) -> None:
        """One page."""
        groups = view.chosen(self.get_arguments("show"))
        start = self.place()
        own = self.reader.name if self.own else None

        def work(record: Record, index: Index) -> Story:
            return story(record, index, session, **asked(groups), start=start, size=PAGE, own=own)

        found = await self.read(work)
        said = f"session={session} show={','.join(groups)} from={start} {view.about(found)}"
        await self.tell_read("me" if self.own else "session", said, len(found.page), with_values=True)
        show_who = not self.own or self.desk.settings.show_readers
        page = view.page(found, groups, start, show_who=show_who)
        self.show("session.html", page=page, own=self.own, may_end=self.reader.may(END))

    def place(self) -> int:
        """Where the page begins."""
        text = self.field("from", 15)
        if text and not (text.isascii() and text.isdigit()):
            raise Malformed("The page's beginning is no event's number: begin at the first page.")
        return int(text or 0)


class Session(Timeline):
    """``session/ID``."""

    scope = READ


class _Taking(Reading):
    """Takes a session out as a file. ``own``: only the reader's own sessions are there."""

    scope = READ
    action = "replay"
    own = False

    async def taken(self, session: str) -> list[int]:
        """The session's events."""
        asked = Question(session=session, limit=TAKEN + 1)
        own = self.reader.name if self.own else None

        def work(record: Record, index: Index) -> list[int]:
            is_theirs = own is None or owner_of(record, index, session) == own
            return index.ask(asked) if is_theirs else []

        leaves = await self.read(work)
        if not leaves:
            raise UNKNOWN
        if len(leaves) > TAKEN:
            sentence = f"The session has more than {TAKEN} events: use `hpcsec audit {self.action}` on the hub's host."
            raise Refused("audit.too-many", sentence)
        return leaves


class Replay(_Taking):
    """``session/ID/replay``: the notebook of what was run, or what was typed into terminals as asciicasts."""

    async def post(self, session: str) -> None:
        """``part`` is notebook or terminals."""
        part = self.field("part", 20)
        if part not in ("notebook", "terminals"):
            raise Malformed("There is a notebook and there are terminals to replay, nothing else.")
        leaves = await self.taken(session)
        await self.tell_read("replay", f"session={session} part={part}", len(leaves), with_values=True)
        made = await self.toil(lambda record: reading.retold(record, session, leaves))
        if part == "notebook":
            self.as_file(f"session-{session[:8]}.ipynb", "application/x-ipynb+json")
            await self.send(made[NOTEBOOK].encode())
            return
        casts = {name: text.encode() for name, text in made.items() if name != NOTEBOOK}
        if not casts:
            raise Refused("session.no-terminal", "No terminal was opened in this session.")
        stem = f"session-{session[:8]}"
        if len(casts) == 1:
            self.as_file(f"{stem}.cast", "application/x-asciicast")
            await self.send(*casts.values())
        else:
            self.as_file(f"{stem}-terminals.tar", "application/x-tar")
            await self.send(tar(casts, f"{stem}-terminals"))


class Bundle(_Taking):
    """``session/ID/bundle``: all events with proofs, checkpoint, key, and a verifier that needs Python alone."""

    action = "export"

    async def post(self, session: str) -> None:
        """``values`` is 1 where sealed values come along."""
        with_values = self.field("values", 1) == "1"
        leaves = await self.taken(session)
        asked = f"session={session}"
        await self.tell_read("export", asked, len(leaves), with_values=with_values)
        stem, by = f"session-{session[:8]}", self.reader.name

        def work(record: Record) -> bytes:
            made = make_bundle(
                record.layout,
                record.verifier,
                leaves,
                question=asked,
                by=by,
                time=f"{datetime.fromtimestamp(time.time(), UTC):%Y-%m-%dT%H:%M:%SZ}",
                with_values=with_values,
                recorded=True,
            )
            return tar(made, stem)

        data = await self.toil(work)
        self.as_file(f"{stem}.tar", "application/x-tar")
        await self.send(data)


class Event(Reading):
    """``event/LEAF``: one event as it was hashed, with its proof of inclusion, as JSON."""

    scope = READ

    async def get(self, leaf: str) -> None:
        """The event; a browser shows it as text."""
        shown = await self.read(lambda record, index: reading.proved(record, int(leaf)))
        await self.tell_read("show", f"event {int(leaf)}", 1)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps(shown, indent=1))


ROUTES: list[tuple[str, type[Page]]] = [
    ("session/([0-9a-f]{32})", Session),
    ("session/([0-9a-f]{32})/replay", Replay),
    ("session/([0-9a-f]{32})/bundle", Bundle),
    ("event/([0-9]{1,15})", Event),
]
