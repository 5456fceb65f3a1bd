"""The plug-in that makes a skipped end-to-end test fail the run."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

TESTS = """
import pytest
{mark}
def test_one():
    {body}
"""


@pytest.mark.parametrize(
    ("mark", "body", "status"),
    [
        ("@pytest.mark.e2e", "pytest.skip('no part')", 1),
        ("@pytest.mark.slurm\n@pytest.mark.skipif(True, reason='x')", "pass", 1),
        ("@pytest.mark.browser", "pytest.importorskip('no_such_module')", 1),
        ("@pytest.mark.e2e", "pass", 0),
        ("@pytest.mark.e2e", "assert False", 1),
        ("", "pytest.skip('a unit test may')", 0),
        ("@pytest.mark.e2e\n@pytest.mark.xfail", "assert False", 0),
    ],
)
def test_only_a_skipped_end_to_end_test_fails_the_run(tmp_path: Path, mark: str, body: str, status: int) -> None:
    (tmp_path / "test_it.py").write_text(TESTS.format(mark=mark, body=body))
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  e2e\n  slurm\n  browser\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.no_skips", str(tmp_path)]
    command += ["-c", str(tmp_path / "pytest.ini")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert ("SKIPPED, which fails" in done.stdout) == ("skip" in mark + body and "mark" in mark)
