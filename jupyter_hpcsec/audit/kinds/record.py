"""Kinds about the record itself."""

from jupyter_hpcsec.audit.events import Count, Digest, Event, Name, Path, Sentence


class AuditOpened(Event, frozen=True, kw_only=True, tag="audit.opened"):
    """A producer began; ``leaves`` were there."""

    version: Name = ""
    leaves: Count = 0


class AuditClosed(Event, frozen=True, kw_only=True, tag="audit.closed"):
    """A producer ended in good order; a next ``audit.opened`` without it tells of a crash."""


class AuditSetAside(Event, frozen=True, kw_only=True, tag="audit.set-aside"):
    """An unfinished write that nobody was told to be done, after a crash or on a full disk: its bytes are kept."""

    file: Name = ""
    bytes: Count = 0
    sha256: Name = ""


class AuditGap(Event, frozen=True, kw_only=True, tag="audit.gap"):
    """Events that were to be recorded and could not be: how many of which kind, since when."""

    lost: Count = 0
    kinds: Sentence = ""
    since: Name = ""
    why: Sentence = ""


class AuditRead(Event, frozen=True, kw_only=True, tag="audit.read"):
    """Somebody read the record: ``action`` is the command, ``query`` what was asked, ``found`` how many were shown."""

    action: Name = ""
    query: Path = ""
    found: Count = 0


class AuditExported(Event, frozen=True, kw_only=True, tag="audit.exported"):
    """Somebody took events out: likewise; ``with_values`` says whether sealed values went with them."""

    query: Path = ""
    found: Count = 0
    with_values: bool = False


class AuditShredded(Event, frozen=True, kw_only=True, tag="audit.shredded"):
    """A sealed value was destroyed: that of ``name`` at leaf ``leaf``. The leaf and all proofs stay."""

    leaf: Count = 0
    name: Name = ""


class AuditPruned(Event, frozen=True, kw_only=True, tag="audit.pruned"):
    """Retention removes ``what`` (events, values) of all leaves before ``end``, which are older than ``before``.

    ``root`` is that of the first ``end`` leaves: their hashes stay, and lead to it.
    """

    what: Name = ""
    end: Count = 0
    before: Name = ""
    root: Digest = ""


class ClockStepped(Event, frozen=True, kw_only=True, tag="clock.stepped"):
    """The wall clock moved against the monotonic one, by ``forward_ms`` or ``back_ms``."""

    forward_ms: Count = 0
    back_ms: Count = 0
