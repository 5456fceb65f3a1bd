"""``hpcsec quickstart --check`` reads the audit record of the session that it was: is there what was done in it?

It reads as security staff would, and shows nothing of it.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from jupyter_hpcsec.audit import values
from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.ops.audit.reading import Record

LOOKED_FOR = ("cell.executed", "kernel.started", "file.written", "file.downloaded", "file.deleted", "http.request")


def look(directory: Path, sources: Sequence[str]) -> dict[str, int]:
    """How many events of each kind that the check has caused are on record.

    ``Refused`` where one is missing, or where the code that was run is not there word for word, in its order.
    """
    record = Record(directory)
    counts = dict.fromkeys(LOOKED_FOR, 0)
    found: list[str] = []
    for leaf, data in record.reader.durable(0):
        kind = json.loads(data)["kind"]
        if kind in counts:
            counts[kind] += 1
        if kind == "cell.executed":
            kept = {each.name: each.value or b"" for each in values.find(record.layout, leaf)}
            found.append(kept.get("source", b"").decode("utf-8"))
    if found != list(sources):
        raise Refused("record.cells", f"{len(sources)} cells were run; the record has {len(found)}, or other ones.")
    missing = sorted(kind for kind, count in counts.items() if not count)
    if missing:
        raise Refused("record.missing", f"The record has nothing of what was done: {', '.join(missing)}.")
    return counts
