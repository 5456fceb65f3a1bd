"""Me: what is recorded of whoever is logged in, and of nobody else."""

from dataclasses import replace
from urllib.parse import quote

from jupyter_hpcsec.audit.index import Index
from jupyter_hpcsec.audit.question import Question
from jupyter_hpcsec.console.download import Reading
from jupyter_hpcsec.console.page import SELF, Page
from jupyter_hpcsec.console.pages.session import Replay, Timeline
from jupyter_hpcsec.console.views import me as view
from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.ops.audit.reading import Record, Shown

SESSIONS = 25
LOOKS = 50


class Me(Reading):
    """``me``."""

    scope = SELF
    label = "Me"

    async def get(self) -> None:
        """A page of sessions; what is recorded; who looked, if the site shows that."""
        name, show_readers = self.reader.name, self.desk.settings.show_readers
        before = self.field("before", 15)
        if before and not (before.isascii() and before.isdigit()):
            raise Malformed("The page's beginning is no event's number: begin at the first page.")
        mine = Question(
            user=name, kind="session.registered", newest=True, end=int(before) if before else None, limit=SESSIONS + 1
        )

        def work(record: Record, index: Index) -> tuple[list[Shown], dict[str, int], list[Shown]]:
            leaves = index.ask(mine)
            read: set[int] = set()
            if show_readers:
                for words in {name, quote(name, safe="")}:
                    read |= set(index.ask(Question(kind="audit.*", text=words, newest=True, limit=LOOKS)))
            looks = record.events(sorted(read, reverse=True)[:LOOKS])
            return record.events(leaves), index.kinds_of_user(name), looks

        found, kinds, looks = await self.read(work)
        shown = found[:SESSIONS]
        await self.tell_read("me", str(replace(mine, limit=SESSIONS)), len(shown))
        self.show(
            "me.html",
            sessions=view.own(shown, name),
            kept=view.kept(kinds),
            looks=view.looks(looks, name) if show_readers else None,
            more=f"before={shown[-1].leaf}" if len(found) > SESSIONS else "",
            is_first=not before,
        )


class MySession(Timeline):
    """``me/session/ID``: another person's session is there as little as one that never was."""

    scope = SELF
    own = True


class MyReplay(Replay):
    """``me/session/ID/replay``: what one ran oneself, as a notebook; the same holds."""

    scope = SELF
    own = True

    async def post(self, session: str) -> None:
        """It is held in memory until it is taken, and so counts until then: a few at a time."""
        with self.desk.record.counted(self.reader.name):
            await super().post(session)


ROUTES: list[tuple[str, type[Page]]] = [
    ("me", Me),
    ("me/session/([0-9a-f]{32})", MySession),
    ("me/session/([0-9a-f]{32})/replay", MyReplay),
]
