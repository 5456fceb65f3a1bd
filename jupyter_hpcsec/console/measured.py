"""The pages that ``hpcsec bench console`` measures, rendered as the service does, without its network."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from jupyter_hpcsec.audit.index import Index
from jupyter_hpcsec.audit.question import Question
from jupyter_hpcsec.console.pages.session import PAGE
from jupyter_hpcsec.console.templating import environment
from jupyter_hpcsec.console.views import me, search, session
from jupyter_hpcsec.console.views.timeline import REFUSALS, USUAL, kinds_of
from jupyter_hpcsec.ops.audit.reading import Record
from jupyter_hpcsec.ops.audit.sessions import story

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
    """What is measured, by name: searches, a long session's timeline, its owner's own page."""
    templates = environment()

    def rendered(template: str, **values: Any) -> str:
        return templates.get_template(template).render(_SHARED | values)

    def answers(query: dict[str, str]) -> Callable[[Record, Index], str]:
        def make(record: Record, index: Index) -> str:
            form = search.form({name: [value] for name, value in query.items()}, datetime.now(UTC))
            leaves = index.ask(search.ask_one_more(form.question))
            shown = record.events(leaves[: form.question.limit])
            rows = [search.row(each) for each in shown]
            return rendered("search.html", form=form, rows=rows, more=search.more(form, leaves))

        return make

    def timeline(groups: tuple[str, ...]) -> Callable[[Record, Index], str]:
        def make(record: Record, index: Index) -> str:
            kinds = kinds_of(groups, index.kinds(session_id))
            found = story(record, index, session_id, kinds=kinds, refusals=REFUSALS in groups, size=PAGE)
            return rendered("session.html", page=session.page(found, groups, 0), own=False)

        return make

    def mine(record: Record, index: Index) -> str:
        leaves = index.ask(Question(user=owner, kind="session.registered", newest=True, limit=26))
        sessions = me.own(record.events(leaves), owner)
        kept = me.kept(index.kinds_of_user(owner))
        return rendered("me.html", sessions=sessions, kept=kept, looks=None, more="", is_first=True)

    return {
        **{name: answers(query) for name, query in QUERIES.items()},
        "session: the usual": timeline(USUAL),
        "session: refusals": timeline((REFUSALS,)),
        "me": mine,
    }
