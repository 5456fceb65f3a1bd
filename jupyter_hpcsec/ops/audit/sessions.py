"""One session as a page of its timeline: which events, each proved, with what is sealed beside them.

It reads; whether somebody may, and that it is on record, is the caller's.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from jupyter_hpcsec.audit.index import Index
from jupyter_hpcsec.audit.layout import TILE_WIDTH
from jupyter_hpcsec.audit.question import Question
from jupyter_hpcsec.audit.values import Finder
from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.ops.audit.reading import Record, Shown, sealed
from jupyter_hpcsec.ops.audit.seen import Seen

OWNER = ("session.registered", "session.bound", "session.enrolled", "session.ended")
"""Kinds whose subject is whose session it is, by the gateway's word; the first that is left says it."""
HEAD = (*OWNER, "session.state", "node.server-started", "node.server-ended", "admin.called")
USE = ("gpu.use", "gpu.watch")
HEAD_EVENTS, USE_EVENTS, BEFORE_EVENTS = 30, 300, 12
USE_BUNDLES = 64
"""Bundles of events that are read for the GPU's numbers: at a busy site each of them is in another one."""
UNKNOWN = Refused("session.unknown", "There is no such session in the record.")


@dataclass(frozen=True)
class Story:
    """A page of a session's timeline, and what its header says.

    ``before`` is what the hub told between the last login and the registration, ``stops`` are its orders to stop;
    ``use`` the GPU's numbers, on the first page (``use_is_cut``: there are more); ``kinds`` counts all events.
    ``more`` is the next page's first event.
    """

    session: str
    owner: str
    kinds: dict[str, int]
    head: tuple[Shown, ...]
    before: tuple[Shown, ...]
    stops: tuple[Shown, ...]
    use: tuple[Shown, ...]
    use_is_cut: bool
    page: tuple[Seen, ...]
    more: int | None


def story(
    record: Record,
    index: Index,
    session: str,
    *,
    kinds: Callable[[Collection[str]], Collection[str]],
    refusals: bool = False,
    start: int = 0,
    size: int = 100,
    own: str | None = None,
    with_use: bool = True,
) -> Story:
    """A page of ``session`` (32 hexadecimal digits) with events of ``kinds(there)``, from event ``start`` on.

    ``refusals``: whatever was refused is on it, too. ``own``: whose it has to be; somebody else's is ``UNKNOWN``.
    ``with_use``: whether the GPU's numbers are asked for.
    """
    found = index.kinds(session)
    owner = owner_of(record, index, session)
    if not found or (own is not None and owner != own):
        raise UNKNOWN
    ended = index.ask(Question(session=session, kind="session.ended", newest=True, limit=1))
    called = index.ask(Question(session=session, kind="admin.called", newest=True, limit=5))
    head = sorted({*index.of_kinds(session, HEAD, limit=HEAD_EVENTS), *ended, *called})
    before, stops = _around(index, owner, head[0] if head else 0, ended) if owner else ([], [])
    use, use_is_cut = _use(index, session) if with_use and not start else ([], False)
    leaves = _page(index, session, kinds(found), refusals, start, size + 1)
    before = [] if start else before
    # One prover for all of them: what it has read of the tree serves the next event, too.
    proved = {each.leaf: each for each in record.events(sorted({*head, *before, *stops, *use, *leaves[:size]}))}
    return Story(
        session=session,
        owner=owner,
        kinds=found,
        head=tuple(proved[leaf] for leaf in head),
        before=tuple(proved[leaf] for leaf in before if _is_about(proved[leaf], owner)),
        stops=tuple(proved[leaf] for leaf in stops if _is_about(proved[leaf], owner)),
        use=tuple(proved[leaf] for leaf in use),
        use_is_cut=use_is_cut,
        page=seen(record, [proved[leaf] for leaf in leaves[:size]]),
        more=leaves[size] if len(leaves) > size else None,
    )


def _use(index: Index, session: str) -> tuple[list[int], bool]:
    """The first events of the GPU's numbers, as many as can be proved while somebody waits; whether there are more."""
    found = index.of_kinds(session, USE, limit=USE_EVENTS + 1)
    bundles = sorted({leaf // TILE_WIDTH for leaf in found})[:USE_BUNDLES]
    few = [leaf for leaf in found[:USE_EVENTS] if leaf // TILE_WIDTH in bundles]
    return few, len(few) < len(found)


def owner_of(record: Record, index: Index, session: str) -> str:
    """Whose session it is; '' where nothing of the record says so."""
    for each in record.events(index.of_kinds(session, OWNER, limit=1)):
        if each.event.get("trust") == "gateway":
            return str(each.event.get("subject", {}).get("user", ""))
    return ""


def _is_about(shown: Shown, owner: str) -> bool:
    """Whether it happened to what is ``owner``'s: the index finds also what they did to things of others."""
    subject = shown.event.get("subject", {})
    return bool((subject.get("user") or subject.get("login")) == owner)


def _page(index: Index, session: str, kinds: Collection[str], refusals: bool, start: int, limit: int) -> list[int]:
    leaves = set(index.of_kinds(session, sorted(kinds), start=start, limit=limit)) if kinds else set()
    if refusals:
        leaves |= set(index.ask(Question(session=session, decision="refused", start=start, limit=limit)))
    return sorted(leaves)[:limit]


def _around(index: Index, owner: str, first: int, ended: Sequence[int]) -> tuple[list[int], list[int]]:
    """The hub's events from the last login until the session; orders to stop while it was."""
    login = index.ask(Question(user=owner, kind="hub.login", end=first, newest=True, limit=1))
    before = login and index.ask(Question(user=owner, kind="hub.*", start=login[0], end=first, limit=BEFORE_EVENTS))
    end = ended[0] if ended else None
    orders = Question(user=owner, kind="hub.server", start=first, end=end, newest=True, limit=4)
    return before, sorted(index.ask(orders))


def seen(record: Record, shown: Sequence[Shown]) -> tuple[Seen, ...]:
    """Events with their sealed values. ``Malformed`` where one is not what was recorded."""
    finder = Finder(record.layout)
    return tuple(Seen(each.leaf, each.event, sealed(finder, each.leaf, each.event.get("sealed", {}))) for each in shown)
