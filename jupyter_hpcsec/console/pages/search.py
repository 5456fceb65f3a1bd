"""Search: the questions of ``hpcsec audit query`` as a form, its answers page by page, and as files of any length."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

from jupyter_hpcsec.audit.index import Index
from jupyter_hpcsec.audit.question import Question
from jupyter_hpcsec.console.download import Reading
from jupyter_hpcsec.console.page import READ, Page
from jupyter_hpcsec.console.views import search as view
from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.ops.audit import render
from jupyter_hpcsec.ops.audit.reading import Record, Shown

CHUNK = 500
"""Events that are read at once for a file."""


class Search(Reading):
    """``search``: everything that is asked stands in the address, so that it can be given to others."""

    scope = READ
    label = "Search"

    def asked(self) -> view.Form:
        """The form as it was sent."""
        given = {name: self.get_query_arguments(name, strip=False) for name in self.request.query_arguments}
        return view.form(given, datetime.now(UTC))

    async def get(self) -> None:
        """The form; below it a page of answers, where something was asked."""
        asked = self.asked()
        if not asked.is_asked or not asked.is_right:
            self.set_status(200 if asked.is_right else 400)
            self.show("search.html", form=asked, rows=(), more="", advice=())
            return

        def work(record: Record, index: Index) -> tuple[list[int], list[Shown]]:
            leaves = index.ask(view.ask_one_more(asked.question))
            return leaves, record.events(leaves[: asked.question.limit])

        leaves, shown = await self.read(work)
        await self.tell_read("search", view.said(asked.question, shown), len(shown))
        self.show("search.html", **view.answered(asked, leaves, shown))


class _File(Search):
    """The whole answer as a file. Its length is that of the answer: it comes as fast as it is taken."""

    label = ""
    form = ""
    kind = ""

    async def get(self) -> None:
        """All that answers now."""
        asked = self.asked()
        if not asked.is_right:
            wrong = [f"{field.label}: {field.error}" for field in asked.fields if field.error]
            raise Malformed(" ".join([*asked.errors, *wrong]))
        covered, found = await self.read(lambda record, index: (index.covered, index.count(asked.question)))
        end = covered if asked.question.end is None else min(covered, asked.question.end)
        whole = replace(asked.question, end=end, limit=CHUNK)
        await self.tell_read("search", f"{asked.question} as={self.form}", found)
        self.as_file(f"search.{self.form}", self.kind)
        await self.stream(self._pieces(whole))

    async def _pieces(self, question: Question) -> AsyncIterator[bytes]:
        is_first, at = True, question
        while True:
            asked = at

            def work(record: Record, index: Index) -> list[Shown]:
                return record.events(index.ask(asked))  # noqa: B023 - it runs before the next turn

            shown = await self.read(work)
            lines = list(render.lines(shown, self.form))
            if self.form == "csv" and not is_first:
                del lines[0]  # the names of the columns
            if lines:
                yield "".join(f"{line}\n" for line in lines).encode()
            if len(shown) < question.limit:
                return
            is_first, last = False, shown[-1].leaf
            at = replace(question, end=last) if question.newest else replace(question, start=last + 1)


class Csv(_File):
    """``search.csv``."""

    form = "csv"
    kind = "text/csv; charset=utf-8"


class Json(_File):
    """``search.json``: one event a line."""

    form = "json"
    kind = "application/x-ndjson"


ROUTES: list[tuple[str, type[Page]]] = [("search", Search), ("search\\.csv", Csv), ("search\\.json", Json)]
