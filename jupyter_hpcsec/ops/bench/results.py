"""What the rounds found, kept so that rounds stay paired, and turned into verdicts and one JSON object. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from jupyter_hpcsec.ops.bench.statistics import Bound, Summary, Verdict, paired_ratio

MEASURES = {
    "download": "one stream from the node",
    "download8": "eight streams from the node",
    "upload": "one stream to the node",
    "file": "one stream from the node, of a file",
    "hashing": "the same with the file's SHA-256 on record : without",
    "one_shot": "small request on a new connection",
    "keep_alive": "small request on an open connection",
    "write": "small upload on a new connection, which waits until it is on record",
    "keystroke": "64 bytes to and fro while the session downloads at full speed",
    "idle": "an enrolled session that does nothing",
    "used": "a session that has carried a download and does nothing now",
    "hub_download": "file through the proxy",
    "hub_small": "small request through the proxy",
}
"""Every measure by its name in JSON."""

UNITS = {
    "gib_per_s": "GiB/s",
    "cpu_s_per_gib": "CPU s/GiB",
    "load_cpu_s_per_gib": "CPU s/GiB",
    "bytes": "bytes",
}


class Results:
    """One value a round for each measure, way and figure. Times are seconds."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str, str], list[float]] = defaultdict(list)

    def add(self, measure: str, way: str, **figures: float) -> None:
        """One round's figures."""
        if measure not in MEASURES:
            raise ValueError(f"BUG: {measure} is no measure")
        for figure, value in figures.items():
            self._values[measure, way, figure].append(value)

    def values(self, measure: str, way: str, figure: str) -> list[float]:
        """The rounds of one figure; empty if it was not measured."""
        return list(self._values.get((measure, way, figure), ()))

    def ratio(self, measure: str, figure: str, ours: str, theirs: str) -> Summary | None:
        """Paired ratio of two ways; None if one was not measured."""
        mine, other = self.values(measure, ours, figure), self.values(measure, theirs, figure)
        return paired_ratio(mine, other) if mine and other else None

    def figures(self) -> list[tuple[str, str, str, Summary]]:
        """Measure, way, figure and summary of all, in the order in which they were first added."""
        return [(*key, Summary.of(values)) for key, values in self._values.items()]

    def as_json(self) -> dict[str, Any]:
        """Measure -> way -> figure -> summary with all its rounds."""
        tree: dict[str, Any] = {}
        for (measure, way, figure), values in self._values.items():
            ways = tree.setdefault(measure, {"what": MEASURES[measure], "ways": {}})["ways"]
            ways.setdefault(way, {})[figure] = {**asdict(Summary.of(values)), "values": values}
        return tree


def verdict_as_json(verdict: Verdict) -> dict[str, Any]:
    """One number of the design and what was found."""
    bound = verdict.bound
    return {
        **asdict(bound),
        "kind": bound.kind.value,
        "value": verdict.value.median,
        "low": verdict.value.low,
        "high": verdict.value.high,
        "rounds": verdict.value.rounds,
        "held": verdict.is_held,
        "meets_aim": verdict.meets_aim,
    }


def judged(pairs: Iterable[tuple[Bound, Summary | None]]) -> list[Verdict]:
    """Verdicts on the bounds for which something was measured."""
    return [Verdict(bound, value) for bound, value in pairs if value is not None]
