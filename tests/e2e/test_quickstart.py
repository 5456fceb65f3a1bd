"""The real quickstart: what stops it is told, all of it holds, and nothing is left, whenever a signal comes."""

import os
import re
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.ops.quickstart import find_proxy
from tests.e2e.quickstartrun import files, finish, run, short_directory, start

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture
def place() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


@pytest.fixture(autouse=True)
def _needs_the_proxy() -> None:
    try:
        find_proxy(os.environ["PATH"])
    except Unavailable as error:
        pytest.skip(error.reason)


# --- what stops it


def test_a_port_that_is_taken_is_refused(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run(place, "--check", "--json", "--port", str(taken.getsockname()[1]))
    assert ended.status == 1 and not ended.left and files(place) == ["h", "t"]
    report = ended.report()
    assert not report["ok"] and "in use" in report["errors"][0] and report["listeners"] is None


ONCE = [
    ("state  ", signal.SIGINT),
    ("gateway .*starts", signal.SIGTERM),
    ("hub .*starts", signal.SIGINT),
    ("proxy ", signal.SIGHUP),
    ("session .*Handing the job", signal.SIGINT),
    ("session .*Starting the notebook server", signal.SIGTERM),
    ("check .*notebook:", signal.SIGINT),
    ("check .*upload:", signal.SIGINT),
]


@pytest.mark.parametrize(("line", "number"), ONCE, ids=lambda value: re.sub(r"\W+", "-", str(value)))
def test_a_signal_at_any_time_leaves_nothing(place: Path, line: str, number: int) -> None:
    ended = run(place, "--check", "--json", signals=[(line, number, 1)])
    assert not ended.unsent and ended.left == [] and files(place) == ["h", "t"]
    assert ended.status == 130 and ended.report()["errors"] == ["Interrupted"] and not ended.report()["ok"]


TWICE = ["hub .*starts", "session .*Handing the job", "hub .*stops"]


@pytest.mark.parametrize("line", TWICE, ids=lambda value: re.sub(r"\W+", "-", str(value)))
def test_a_second_signal_hurries_and_leaves_nothing(place: Path, line: str) -> None:
    ended = run(
        place, "--check", "--json", signals=[(line, signal.SIGINT, 1), ("signal .*stopping;", signal.SIGINT, 2)]
    )
    assert ended.left == [] and files(place) == ["h", "t"]


@pytest.mark.parametrize("line", ["hub .*starts", "check .*lab:"])
def test_when_it_is_killed_its_processes_end(place: Path, line: str) -> None:
    ended = run(place, "--check", "--json", signals=[(line, signal.SIGKILL, 1)])
    assert ended.status == -signal.SIGKILL and ended.left == []


# --- what it is for


def test_all_of_it_holds(place: Path) -> None:
    ended = run(place, "--check", "--json", "--keep-logs", str(place / "logs"))
    report = ended.report()
    assert report["errors"] == [] and report["ok"] and ended.status == 0, ended.output
    assert report["listeners"] == []
    assert report["notebook"]["statistic"] == "0.9629" and report["notebook"]["figure_bytes"] > 5000
    assert report["transfer"]["bytes"] == 64 * 1024 * 1024
    assert report["record"]["cell.executed"] >= report["notebook"]["cells"] and report["record"]["file.downloaded"] == 1
    assert {"start", "login", "spawn", "notebook", "upload", "download", "total"} <= report["timings"].keys()
    assert report["versions"]["jupyterhub"].startswith("6.") and "attestation" in report["protections"]["off"]
    assert ended.left == []
    logs = {path.name for path in (place / "logs").iterdir()}
    assert {"gateway.log", "hub.log"} <= logs
    shutil.rmtree(place / "logs")
    assert files(place) == ["h", "t"]


def test_a_person_gets_a_link_and_after_its_use_the_next(place: Path) -> None:
    harness = start(place, [], [("session .*: ready", signal.SIGINT, 1)])
    assert harness.stdout is not None
    link = re.compile(r"http://127\.0\.0\.1:\d+/hub/onetime\?code=[A-Za-z0-9_-]{43}$", re.MULTILINE)
    seen = ""
    with httpx.Client(follow_redirects=True, trust_env=False, timeout=60) as browser:
        first = None
        for line in harness.stdout:
            seen += line
            found = link.search(line)
            if found and first is None:
                first = found[0]
                browser.get(first)
            elif found:
                assert found[0] != first
                break
        else:
            pytest.fail(seen)
    ended = finish(place, harness, seen)
    assert ended.status == 0 and ended.left == [] and files(place) == ["h", "t"]
    assert "OFF  attestation" in ended.output and "on   tunnel" in ended.output
