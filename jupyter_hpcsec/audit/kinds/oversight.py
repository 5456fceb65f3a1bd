"""Kinds about oversight: what people do with the record, the alerts and the policy in the security console."""

from jupyter_hpcsec.audit.events import Count, Digest, Event, Name, Sentence


class AuditVerifyBegun(Event, frozen=True, kw_only=True, tag="audit.verify-begun"):
    """``subject`` begins to verify the record in the console, at ``size`` events."""

    size: Count = 0


class AuditVerified(Event, frozen=True, kw_only=True, tag="audit.verified"):
    """How a verification in the console ended: ``state`` is ``held``, ``wrong`` (``reason``: the first finding),
    ``failed`` or ``stopped``.

    ``size`` events under ``root`` and ``checkpoints`` kept elsewhere were verified; ``first`` to ``last`` are the
    events that the first finding is about.
    """

    state: Name = ""
    size: Count = 0
    root: Digest = ""
    checkpoints: Count = 0
    findings: Count = 0
    first: Count = 0
    last: Count = 0


class AlertAcknowledged(Event, frozen=True, kw_only=True, tag="alert.acknowledged"):
    """``subject`` has looked at an alert up to what was ``seen``. Sealed beside it: ``note``.

    ``alert`` is the id of the alert's first event, ``seen`` that of the newest one that was on the page; what occurred
    after it leaves the alert open. ``rule`` is the alert's name.
    """

    alert: Name = ""
    seen: Name = ""


class PolicyExplained(Event, frozen=True, kw_only=True, tag="policy.explained"):
    """``subject`` asked what ``asked``, in these ``groups``, may do with ``object``: ``right`` is the answer."""

    asked: Name = ""
    groups: Sentence = ""
    right: Name = ""


class PolicyCompared(Event, frozen=True, kw_only=True, tag="policy.compared"):
    """``subject`` asked whom another policy would affect: ``object`` has the size and hash of what was given.

    ``state`` is ``compared`` or ``wrong`` (it can't be used); of ``users`` people, so many would gain or lose.
    """

    state: Name = ""
    users: Count = 0
    gain: Count = 0
    lose: Count = 0
