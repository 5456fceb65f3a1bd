"""``hpcsec audit witness``: by a directory and by HTTP, once and again and again."""

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_hpcsec.cli.main import main
from jupyter_hpcsec.errors import Malformed, Unavailable
from jupyter_hpcsec.ops.audit.witnessing import ALARM, run, source
from tests.audit.records import Place


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "p")
    place.fill(300)
    return place


@pytest.fixture
def url(place: Place) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(place.layout.log))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def key(place: Place) -> str:
    return place.layout.verifier.read_text().strip()


@pytest.mark.parametrize("by", ["directory", "url"])
def test_once(place: Place, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], by: str) -> None:
    where = url if by == "url" else str(place.layout.log)
    words = ["audit", "witness", "--state", str(tmp_path / "w"), "--log-key", key(place), "--from", where]
    old = place.copy(tmp_path / "old")
    assert main(words) == 0
    place.fill(600)
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "cosigned 302 events" in shown
    assert "cosigned 904 events" in shown
    witness = (tmp_path / "w" / "witness.vkey").read_text().strip()
    assert f"the witness's key: {witness}" in shown
    verify = ["audit", "verify", "--directory", str(place.layout.directory), "--checkpoints", str(place.second)]
    cosigned = ["--cosigned", str(tmp_path / "w" / "cosigned")]
    assert main([*verify, "--witness", witness, *cosigned]) == 0
    assert "cosigned 904 events at" in capsys.readouterr().out
    assert main([*verify, *cosigned]) == 1
    assert "in the same order" in capsys.readouterr().err
    # the log is rolled back
    shutil.rmtree(place.layout.log)
    shutil.copytree(old.layout.log, place.layout.log)
    assert main(words) == ALARM
    assert "ALARM" in capsys.readouterr().out


def test_again_and_again_until_it_is_refused(place: Place, tmp_path: Path) -> None:
    old = place.copy(tmp_path / "old")
    said: list[str] = []

    def rolled_back_now() -> None:
        shutil.rmtree(place.layout.log)
        shutil.copytree(old.layout.log, place.layout.log)

    steps = iter(
        [lambda: place.fill(5), lambda: place.layout.checkpoint.unlink(), rolled_back_now],
    )
    status = run(
        directory=tmp_path / "w",
        name="w",
        log_key=key(place),
        place=str(place.layout.log),
        every_s=1,
        say=said.append,
        pause=lambda _: next(steps)(),
    )
    assert status == ALARM
    assert [line.split()[-2:] for line in said[1:3]] == [["302", "events"], ["309", "events"]]
    assert said[3].startswith("it could not be looked at")
    assert said[4].startswith("ALARM")


def test_places_that_give_nothing(url: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        source(url)("none", 10)
    with pytest.raises(Malformed, match="longer than"):
        source(url)("checkpoint", 10)
    with pytest.raises(Unavailable):
        source("http://127.0.0.1:1")("checkpoint", 10)
    with pytest.raises(Unavailable, match="name the record's log/"):
        source(str(tmp_path / "none"))
