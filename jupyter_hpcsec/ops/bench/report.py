"""A benchmark's report for people and for programs. Pure: values in, text out."""

from typing import Any

from jupyter_hpcsec.ops.bench.results import MEASURES, verdict_as_json
from jupyter_hpcsec.ops.bench.statistics import Summary, Verdict
from jupyter_hpcsec.ops.bench.tunnel import Report

READING = (
    "Ratios are medians of paired rounds within this run. Absolute figures say as much about this machine and what",
    "else it did as about the software; the load generator runs on the same cores, and its cost is shown.",
)


def as_json(report: Report) -> dict[str, Any]:
    """One object: machine, settings, every figure with all its rounds, and the design's numbers."""
    return {
        "machine": report.machine,
        "settings": report.settings,
        "measures": report.results.as_json(),
        "numbers": [verdict_as_json(verdict) for verdict in report.verdicts],
    }


def value_text(figure: str, value: float) -> str:
    """A figure with its unit."""
    if figure.endswith("_s"):
        if figure == "gib_per_s":
            return f"{value:.2f} GiB/s"
        return f"{value * 1e6:.0f} µs" if value < 0.01 else f"{value * 1e3:.1f} ms"
    if figure.startswith(("cpu_s_per_gib", "load_cpu_s_per_gib")):
        return f"{value:.2f} CPU s/GiB"
    if figure == "bytes":
        return f"{value / 1024:.1f} KiB"
    return f"{value:g}"


def figure_lines(figures: list[tuple[str, str, str, Summary]]) -> list[str]:
    """A table: measure, way, figure, median, range."""
    lines: list[str] = []
    last = ("", "")
    for measure, way, figure, summary in sorted(figures, key=lambda each: list(MEASURES).index(each[0])):
        if measure != last[0]:
            lines += ["", f"{measure}: {MEASURES[measure]}"]
        shown = way if (measure, way) != last else ""
        last = (measure, way)
        low, high = value_text(figure, summary.low), value_text(figure, summary.high)
        spread = f"{low} to {high} in {summary.rounds} rounds" if summary.rounds > 1 else ""
        lines.append(f"  {shown:<19} {figure:<26} {value_text(figure, summary.median):>16}   {spread}".rstrip())
    return lines


def verdict_lines(verdicts: list[Verdict]) -> list[str]:
    """A line for each number of the design: what was found, what has to be, whether it is held."""
    lines = ["", "The numbers to hold"]
    for verdict in verdicts:
        bound, value = verdict.bound, verdict.value
        number = f"{value.median:.2f}" if not bound.unit else f"{value.median:.0f} {bound.unit}"
        limit = f"{bound.kind.value} {bound.bound:g}"
        aim = "" if bound.aim is None else f", aim {bound.aim:g}{'' if verdict.meets_aim else ' not reached'}"
        spread = f"({value.low:.2f} to {value.high:.2f})" if not bound.unit else ""
        word = "held" if verdict.is_held else "NOT HELD"
        lines.append(f"  {word:<9} {bound.what:<52} {number:>12} {spread:<16} {limit}{aim}".rstrip())
    return lines


def as_text(report: Report) -> str:
    """The whole report."""
    facts = [f"  {name:<19} {value}" for name, value in report.machine.items()]
    settings = ", ".join(f"{name} {value}" for name, value in report.settings.items())
    figures = figure_lines(report.results.figures())
    return "\n".join(
        [
            "The machine",
            *facts,
            f"  {'settings':<19} {settings}",
            *figures,
            *verdict_lines(report.verdicts),
            "",
            *READING,
        ]
    )
