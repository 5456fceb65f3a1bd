"""R5: signs of mining, scored from independent kinds of evidence, for people to review. Pure. It never ends anything.

Detectors in print find four of five miners and accuse one user in five; so one kind is never enough, whatever it says.
"""

from collections.abc import Iterator, Mapping

from jupyter_hpcsec.gpu.alerts import Finding
from jupyter_hpcsec.gpu.rules import View
from jupyter_hpcsec.gpu.samples import Context, Device, Holder

WORDS = frozenset(("pool", "algorithm", "payout", "program"))
WEIGHTS = {"words": 2, "steady": 1, "connection": 1, "cpu": 1}
KINDS_NEEDED = 2


def steady(view: View) -> Iterator[tuple[int, int]]:
    """(pid, start) of those that keep a device busy near its power limit while no cell runs."""
    for device, context, holder in view.held():
        if holder.whose == "mine" and _is_busy(view, device, context) and not _executes(view, holder):
            yield holder.pid, holder.start


def _is_busy(view: View, device: Device, context: Context) -> bool:
    use = context.utilisation if context.utilisation is not None else device.utilisation
    if use is None or use < view.settings.steady_utilisation or not device.power_mw or not device.power_limit_mw:
        return False
    return 100 * device.power_mw >= view.settings.steady_power * device.power_limit_mw


def _executes(view: View, holder: Holder) -> bool:
    kernel = view.kernels.get(holder.kernel)
    return kernel is not None and kernel.busy is not False  # not known counts for the user


def findings(view: View, steady_s: Mapping[tuple[int, int], float]) -> Iterator[Finding]:
    """Those whose score is reached. ``steady_s``: for how long each process has been ``steady``."""
    for holder in view.sample.holders:
        if holder.whose != "mine":
            continue
        kinds = {sign for sign in holder.signs if sign in {"connection", "cpu"}}
        kinds |= {"words"} if WORDS & set(holder.signs) else set()
        for_s = steady_s.get((holder.pid, holder.start), 0.0)
        kinds |= {"steady"} if for_s >= view.settings.steady_s else set()
        score = sum(WEIGHTS[kind] for kind in kinds)
        if len(kinds) < KINDS_NEEDED or score < view.settings.mining_score:
            continue
        yield Finding(
            rule="R5",
            key=f"R5:{holder.pid}:{holder.start}",
            evidence={
                "pid": holder.pid,
                "kinds": " ".join(sorted(kinds)),
                "signs": " ".join(sorted(WORDS & set(holder.signs))),
                "score": score,
                "steady minutes": int(for_s // 60),
            },
            confidence="medium" if "words" in kinds else "low",
            threshold=f"score {view.settings.mining_score} of {sum(WEIGHTS.values())} from two kinds (mining_score)",
            kernel=holder.kernel,
            pid=holder.pid,
        )
