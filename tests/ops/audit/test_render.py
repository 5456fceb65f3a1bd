"""Events as a table: who acted in somebody else's name is seen in it; and as CSV: no cell is a formula."""

import csv

import pytest

from jupyter_hpcsec.ops.audit.reading import Shown
from jupyter_hpcsec.ops.audit.render import lines


def test_who_acted_for_somebody_else_is_in_the_table() -> None:
    event = {"kind": "session.visited", "trust": "gateway", "time": "2026-03-01T10:00:00.000000Z", "id": "x"}
    subject = {"user": "alice", "impersonator": "admin\x1b[31m"}
    _, visited = lines([Shown(1, event | {"subject": subject})], "table")
    assert "alice" in visited and "by admin" in visited and "\x1b" not in visited
    _, own = lines([Shown(1, event | {"subject": {"user": "alice"}})], "table")
    assert "by " not in own


@pytest.mark.parametrize("separator", [",", ";", "|"])
@pytest.mark.parametrize("text", ["=1+1", " =1+1", "'@x", "a;=1", "a; =1", "a;' +1", "a|-1", "a | @x", "\uff1d1"])
def test_no_cell_is_a_formula_by_any_countrys_separator(text: str, separator: str) -> None:
    event = {"kind": "file.read", "trust": "gateway", "time": "2026-03-01T10:00:00.000000Z", "id": "x"}
    told = {"subject": {"user": text}, "object": {"name": text}, "reason": text}
    (_, row) = csv.reader(lines([Shown(1, event | told)], "csv"), delimiter=separator)
    assert not any(cell.strip().startswith(("=", "+", "-", "@", "\uff1d")) for cell in row)
