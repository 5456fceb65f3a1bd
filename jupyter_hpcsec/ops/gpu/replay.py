"""``hpcsec gpu replay``: recorded samples through the rules again, which gives the same alerts again."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from jupyter_hpcsec.errors import Malformed, Unavailable
from jupyter_hpcsec.gpu.alerts import Alert
from jupyter_hpcsec.gpu.judge import Memory, judge
from jupyter_hpcsec.gpu.samples import Sample
from jupyter_hpcsec.gpu.settings import Settings

LINE_LIMIT = 16 << 20


def read(path: Path) -> Iterator[Sample]:
    """The samples of a file, one JSON object a line. ``Malformed`` names the line."""
    decoder = msgspec.json.Decoder(Sample)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(LINE_LIMIT), b""), 1):
                try:
                    yield decoder.decode(line)
                except msgspec.DecodeError as error:
                    raise Malformed(f"Line {number} of {path.name} is no sample: {error}.") from error
    except OSError as error:
        raise Unavailable(f"{path} can't be read: {error.strerror}.") from error


def alerts(samples: Iterable[Sample], settings: Settings) -> Iterator[Alert]:
    """Every alert, in order."""
    memory = Memory()
    for sample in samples:
        memory, judgement = judge(memory, sample, settings)
        yield from judgement.alerts


def as_line(alert: Alert) -> dict[str, Any]:
    """An alert as one JSON object."""
    return {"time": alert.time, "state": "raised" if alert.raised else "cleared", **msgspec.to_builtins(alert.finding)}
