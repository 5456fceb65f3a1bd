"""The Live page's values: what is asked, one row for each running session, the links around them. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args
from urllib.parse import urlencode

from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.tunnel.sessionpage import Order, SessionQuestion

SIZE = 50
STATES = {
    "waiting": ("waiting", "in the queue, or its job is starting", ""),
    "enrolled": ("starting", "the job's agent has proved whose it is", ""),
    "starting": ("starting", "the notebook server starts on the node", ""),
    "ready": ("running", "the notebook server answers", "good"),
    "away": ("away", "the node is not connected; its computations go on", "warn"),
}
"""A state of the gateway's: its word, its meaning, its colour."""
_AFTER = re.compile(r"(?P<value>.{0,255})~(?P<id>[0-9a-f]{32})", re.DOTALL)


RUNNING = STATES["ready"][0]


def word_of(state: str) -> str:
    """A state's word for people, the same on all pages; an unknown one is its own."""
    return STATES[state][0] if state in STATES else state


@dataclass(frozen=True)
class Row:
    """A session as Live shows it. Times are Unix seconds; traffic is bytes as the gateway counts them.

    ``alerts`` open ones, None: not known; ``gpus`` of the job and ``gpu_memory`` bytes that kernels held, by the last
    word of the session's own watch, None: it told nothing.
    """

    id: str
    user: str
    server: str
    project: str
    job: str
    node: str
    state: str
    meaning: str
    colour: str
    since: int
    ends_at: int
    from_node: int
    to_node: int
    alerts: int | None
    gpus: int | None
    gpu_memory: int | None


@dataclass(frozen=True)
class Beside:
    """What the record says of the sessions of a page, by session: open alerts (None: unknown), GPUs, their memory."""

    alerts: Mapping[str, int] | None
    gpus: Mapping[str, int]
    gpu_memory: Mapping[str, int]


UNTOLD = Beside(None, {}, {})
"""Where the record was not asked, or can't be."""


@dataclass(frozen=True)
class Sorting:
    """A way to sort: its name, its link, whether it is the one in use."""

    name: str
    link: str
    is_used: bool


@dataclass(frozen=True)
class Page:
    """One page: rows, how many answer in all, links to the next and the first, and the ways to sort."""

    rows: Sequence[Row]
    total: int
    asked: SessionQuestion
    next: str
    first: str
    sortings: Sequence[Sorting]


def question(user: str, node: str, project: str, order: str, after: str) -> SessionQuestion:
    """What the form and the links of the page ask; ``Malformed``."""
    if order not in ("", *get_args(Order)):
        raise Malformed("Sessions are sorted by newest, user or node.")
    asked = SessionQuestion(user=user, node=node, project=project, order=order or "newest", limit=SIZE)  # type: ignore[arg-type]
    if not after:
        return asked
    found = _AFTER.fullmatch(after)
    if not found or (asked.order == "newest" and not re.fullmatch(r"[0-9]{1,12}", found["value"])):
        raise Malformed("The link to that page is broken: begin at the first page.")
    return replace(asked, after=found["value"], after_id=found["id"])


def row(session: Mapping[str, Any], beside: Beside) -> Row:
    """A row from the gateway's facts and the record."""
    state = str(session["state"])
    word, meaning, colour = STATES.get(state, (state, "", ""))
    name = str(session["id"])
    return Row(
        id=name,
        user=str(session["user"]),
        server=str(session["server"]),
        project=str(session.get("project", "")),
        job=str(session["job_id"]),
        node=str(session["node"]),
        state=word,
        meaning=meaning,
        colour=colour,
        since=int(session["created_at"]),
        ends_at=int(session["ends_at"]),
        from_node=int(session.get("bytes_from_node", 0)),
        to_node=int(session.get("bytes_to_node", 0)),
        alerts=None if beside.alerts is None else beside.alerts.get(name, 0),
        gpus=beside.gpus.get(name),
        gpu_memory=beside.gpu_memory.get(name),
    )


def link(asked: SessionQuestion, **changes: str) -> str:
    """The query of a link that asks so."""
    values = {name: getattr(asked, name) for name in ("user", "node", "project", "order")} | changes
    return urlencode({name: value for name, value in values.items() if value and (name, value) != ("order", "newest")})


def page(answer: Mapping[str, Any], asked: SessionQuestion, beside: Beside) -> Page:
    """The page that the gateway's answer makes."""
    rows = [row(session, beside) for session in answer["sessions"]]
    last = answer["sessions"][-1] if rows else {}
    after = {"newest": "created_at", "user": "user", "node": "node"}[asked.order]
    return Page(
        rows=rows,
        total=int(answer["total"]),
        asked=asked,
        next=link(asked, after=f"{last[after]}~{last['id']}") if answer["more"] else "",
        first=link(asked) if asked.after_id else "",
        sortings=[Sorting(each, link(asked, order=each), each == asked.order) for each in get_args(Order)],
    )


def as_query(asked: SessionQuestion) -> str:
    """What was asked, for the event of it."""
    return " ".join(f"{name}={value}" for name, value in asdict(asked).items() if value and name != "limit")
