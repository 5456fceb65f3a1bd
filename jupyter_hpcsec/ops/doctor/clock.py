"""Checks of clocks. Tokens, certificates and MUNGE credentials are all refused by a clock that is wrong."""

from email.utils import parsedate_to_datetime

from jupyter_hpcsec.ops.doctor.finding import Finding, bad, ok, unknown, warn
from jupyter_hpcsec.ops.doctor.world import ClockState, HttpAnswer

WARN_S = 5.0
BAD_S = 60.0
"""Well below the 300 s that a MUNGE credential lives by default, and what certificates are dated back by."""


def judge_clock(state: ClockState) -> Finding:
    """Is the system clock held to a reference (adjtimex(2))?"""
    if state.synchronised:
        return ok("clock", f"synchronised, within {state.max_error_s:.3f} s as the kernel counts")
    return warn(
        "clock",
        "the kernel says that nothing keeps this clock right",
        "run chronyd or systemd-timesyncd (a virtual machine whose host keeps the time can look like this, too)",
    )


def judge_skew(local: float, answer: HttpAnswer, took_s: float) -> Finding:
    """Compare with the ``Date`` of an answer from the hub's host (RFC 9110, 6.6.1: whole seconds)."""
    hop = "clock skew"
    try:
        remote = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except ValueError:
        return unknown(hop, "the answer carries no date", "compare 'date -u' on the node and on the hub's host")
    # The date is cut to whole seconds and was taken somewhere within the exchange: what these explain is no skew.
    behind, ahead = remote - local, local - (remote + 1 + took_s)
    skew = max(behind, ahead, 0.0)
    where = "behind" if behind > ahead else "ahead of"
    if skew > BAD_S:
        return bad(hop, f"this clock is {skew:.0f} s {where} the hub's", "run chronyd on both; a skew refuses sessions")
    if skew > WARN_S:
        return warn(hop, f"this clock is {skew:.0f} s {where} the hub's", "run chronyd on both")
    return ok(
        hop, "this clock and the hub's agree within two seconds" if not skew else f"{skew:.0f} s {where} the hub's"
    )
