"""docs/security/attacks.md has the suite's own tables."""

from pathlib import Path

from jupyter_hpcsec.ops.attack.report import as_page
from jupyter_hpcsec.ops.attack.suite import ATTEMPTS

PAGE = Path(__file__).parents[3] / "docs/security/attacks.md"


def test_the_tables_are_those_of_the_suite() -> None:
    _, found = PAGE.read_text(encoding="utf-8").split("<!-- hpcsec attack --page -->\n\n")
    assert found == as_page(ATTEMPTS), "put the output of hpcsec attack --page below the mark"
