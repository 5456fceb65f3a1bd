"""A pytest plug-in for continuous integration (``-p tests.no_skips``): a skipped end-to-end test is a failed run.

On a developer's machine a test may skip for want of a part; where all parts are installed, a skip hides a failure.
"""

from collections.abc import Iterator

import pytest

MARKS = ("e2e", "slurm", "browser")
_skipped: list[str] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and any(item.get_closest_marker(mark) for mark in MARKS):
        _skipped.append(item.nodeid)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _skipped and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for nodeid in _skipped:
        terminalreporter.write_line(f"SKIPPED, which fails this run: {nodeid}", red=True)
