"""Integrity in the console: what is missing is said; a verification is on record and names the place that is wrong."""

import asyncio
import json
import logging
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.audit import findings
from jupyter_hpcsec.audit.events import Subject
from jupyter_hpcsec.audit.kinds.connections import LaneOpened
from jupyter_hpcsec.audit.kinds.node import NodeGap, SessionHeard, SessionSilent
from jupyter_hpcsec.audit.kinds.record import AuditGap
from jupyter_hpcsec.audit.notes import Checkpoint
from jupyter_hpcsec.audit.sinks.cursor import Cursor, path_of, save
from jupyter_hpcsec.audit.sinks.lag import SinkState
from jupyter_hpcsec.console.page import ALERT, READ
from jupyter_hpcsec.console.verify_worker import Order
from jupyter_hpcsec.console.verifying import Verifying
from jupyter_hpcsec.console.views import integrity as view
from jupyter_hpcsec.errors import Refused, Unavailable
from tests.console.conftest import PATIENCE_S, Place, Visitor

HOSTILE = "<script>alert(1)</script>"


async def outcome(visitor: Visitor) -> str:
    end = time.monotonic() + PATIENCE_S
    while 'data-state="running"' in (page := (await visitor.get("integrity/verify")).text):
        assert "http-equiv" in page and "is verifying the record" in page
        assert time.monotonic() < end, "it does not end"
        await asyncio.sleep(0.2)
    return page


async def test_reading_it_and_verifying_need_the_scope(place: Place) -> None:
    eve = place.visitor("eve", ALERT)
    for path in ("integrity", "integrity/verify"):
        assert (await eve.get(path)).status_code == 403
    assert (await eve.post("integrity/verify", {})).status_code == 403
    assert not [event for event in place.all_events() if event["kind"] == "audit.verify-begun"]


async def test_a_form_of_another_site_begins_nothing(place: Place) -> None:
    ada = place.visitor("ada", READ)
    await ada.get("integrity")
    assert (await ada.post("integrity/verify", {}, Origin="https://elsewhere.example")).status_code == 403
    assert not [event for event in place.all_events() if event["kind"] == "audit.verify-begun"]


async def test_the_page_says_how_the_record_is_and_what_is_missing(place: Place) -> None:
    place.record(NodeGap(session="9" * 32, first=3, last=7, subject=Subject(user="bob")))
    place.record(AuditGap(lost=12, kinds=f"cell.executed {HOSTILE}", why=HOSTILE))
    place.record(SessionSilent(session="7" * 32, seconds=900, subject=Subject(user="carl" + HOSTILE)))
    place.record(SessionSilent(session="8" * 32, seconds=900, subject=Subject(user="dora")))
    place.record(SessionHeard(session="8" * 32, seconds=950))
    forward = place.directory / "forward"
    forward.mkdir(mode=0o700)
    save(path_of(forward, "siem"), Cursor(log=str(place.log.verifier), next=1, error=HOSTILE, since=5))
    ada = place.visitor("ada", READ)
    page = (await ada.get("integrity")).text
    assert place.log.verifier.name in page and "The second place has the checkpoint" in page
    assert "numbers 3 to 7 never came" in page and "12 events could not be recorded" in page
    assert "carl" in page and "dora" not in page
    assert "siem" in page and "stands still" in page and HOSTILE not in page
    [read] = await place.events("audit.read", lambda event: event["action"] == "integrity")
    assert read["subject"]["user"] == "ada"


async def test_a_record_that_holds_is_verified_and_both_events_name_the_reader(place: Place) -> None:
    ada = place.visitor("ada", READ)
    await ada.get("integrity")
    answer = await ada.post("integrity/verify", {"index": "yes"})
    assert answer.status_code == 303
    page = await outcome(ada)
    assert "The record holds" in page
    [begun] = await place.events("audit.verify-begun")
    [verified] = await place.events("audit.verified")
    assert begun["subject"]["user"] == verified["subject"]["user"] == "ada"
    assert verified["state"] == "held" and verified["size"] > 0 and len(verified["root"]) == 64
    assert "verified it at" in (await ada.get("integrity")).text


async def test_a_changed_event_is_named_in_plain_words_and_becomes_an_alert(place: Place) -> None:
    for number in range(300):
        place.log.note(LaneOpened(session=f"{number:032x}"), "gateway")
    place.record(LaneOpened(session="f" * 32))
    bundle = next(path for path in (place.directory / "audit" / "log" / "tile" / "entries").iterdir() if path.is_file())
    data = bundle.read_bytes()
    victim = data.index(b"%032x" % 41)
    bundle.write_bytes(data[:victim] + b"e" + data[victim + 1 :])
    ada = place.visitor("ada", READ)
    await ada.get("integrity")
    assert (await ada.post("integrity/verify", {})).status_code == 303
    page = await outcome(ada)
    assert "The record does not hold" in page and "changed after it was signed" in page
    [verified] = await place.events("audit.verified")
    assert verified["state"] == "wrong" and "Event" in verified["reason"] and verified["first"] == verified["last"] > 0
    assert f"Event {verified['first']} was changed" in page


async def test_one_at_a_time_and_its_end_is_on_record_also_when_it_was_stopped(tmp_path: Path) -> None:
    told: list[Any] = []
    gate = asyncio.Event()

    async def tell(event: Any, by: str) -> None:
        told.append((event, by))

    class Slow(Verifying):
        async def _work(self, order: Order) -> Any:
            await gate.wait()
            raise AssertionError("it is stopped before")

    slow = Slow(tell, logging_of("slow"))
    await slow.begin(Order(str(tmp_path)), "ada", 5)
    with pytest.raises(Refused, match="already"):
        await slow.begin(Order(str(tmp_path)), "bob", 5)
    await slow.stop()
    assert slow.last is not None and slow.last.state == "stopped" and not slow.is_running
    assert [(type(event).__name__, by) for event, by in told] == [("AuditVerifyBegun", "ada"), ("AuditVerified", "ada")]


async def test_nothing_begins_that_can_not_be_recorded_and_an_unrecorded_outcome_says_so(tmp_path: Path) -> None:
    is_down = True

    async def tell(event: Any, by: str) -> None:
        if is_down:
            raise Unavailable("no gateway")

    verifying = Verifying(tell, logging_of("down"))
    with pytest.raises(Unavailable):
        await verifying.begin(Order(str(tmp_path / "none")), "ada", 0)
    assert verifying.last is None and not verifying.is_running
    is_down = False
    begun = verifying.begin(Order(str(tmp_path / "none")), "ada", 0)
    await begun
    is_down = True
    end = time.monotonic() + PATIENCE_S
    while verifying.is_running:
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
    assert verifying.last is not None and verifying.last.state == "failed"
    assert "there is no record" in verifying.last.outcome.error and verifying.last.unrecorded == "no gateway"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "print('{\"done\":1,\"of\":2}'); print('{\"done\":1', end='', flush=True); os.kill(os.getpid(), 9)",
            "SIGKILL",
        ),
        ("print('{\"size\":7', end='')", "ended with status 0 before it was done"),
        ("sys.exit(3)", "ended with status 3 before it was done"),
        ("print('{\"done\":')", "can't be read"),
        ("print('no JSON')", "can't be read"),
    ],
)
async def test_a_verification_whose_process_fails_says_how(code: str, said: str) -> None:
    told: list[Any] = []

    async def tell(event: Any, by: str) -> None:
        told.append(event)

    command = (sys.executable, "-c", f"import os, sys; {code}")
    verifying = Verifying(tell, logging_of("worker"), command=command)
    await verifying.begin(Order("/nowhere"), "ada", 5)
    end = time.monotonic() + PATIENCE_S
    while verifying.is_running:
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
    assert verifying.last is not None and verifying.last.state == "failed"
    assert said in verifying.last.outcome.error and said in told[-1].reason


def logging_of(name: str) -> logging.Logger:
    return logging.getLogger(f"test.{name}")


# -- views


def test_every_kind_of_finding_has_plain_words() -> None:
    package = Path(findings.__file__).parent
    source = "".join(path.read_text(encoding="utf-8") for path in package.glob("*.py"))
    known = set(re.findall(r'Finding\("([a-z.-]+)"', source)) | {"value.gone", "value.kept"}
    assert known <= set(view.WORDS) and len(known) > 30
    for what in known:
        for first, last in ((None, None), (7, None), (7, 7), (7, 9)):
            found = view.wrong(what, "log", "why", first, last)
            assert found.sentence.endswith((".", "`", "anew.")) and "{" not in found.sentence
    assert view.wrong("event.altered", "x", "y", 7, 7).sentence.startswith("Event 7 was changed after")
    assert view.wrong("a.new-one", "x", HOSTILE, None, None).sentence == "The record does not hold."


def test_a_second_place_that_knows_more_says_rolled_back() -> None:
    here, ahead, other = Checkpoint("o", 5, b"a" * 32), Checkpoint("o", 6, b"b" * 32), Checkpoint("o", 5, b"c" * 32)
    assert view.second(ahead, here).tone == "bad" and "rolled back" in view.second(ahead, here).said
    assert view.second(other, here).tone == "bad"
    assert view.second(here, here).tone == "good" and view.second(here, ahead).tone == "good"
    assert view.second(None, here).tone == "warn" and view.second("broken", here).tone == "bad"


@pytest.mark.parametrize(
    ("state", "tone", "said"),
    [
        (SinkState("a", 5, 0, 0, 0, 0, ""), "good", "up to date"),
        (SinkState("a", 5, 9, 10, 0, 0, ""), "good", "sending"),
        (SinkState("a", 5, 9, 10_000, 0, 0, ""), "warn", "late"),
        (SinkState("a", 5, 0, 0, 3, 0, ""), "warn", "up to date"),
        (SinkState("a", 5, 0, 0, 0, 0, "refused"), "bad", "stands still"),
    ],
)
def test_a_sink_in_words(state: SinkState, tone: str, said: str) -> None:
    assert (view.sink(state).tone, view.sink(state).state) == (tone, said)


def test_health_says_what_the_doctor_says() -> None:
    assert view.health({}, 0)[0].tone == "bad"
    lines = view.health({"durable": 5, "published": 5, "failing": "disk full", "lost": 3}, 0)
    assert [line.tone for line in lines] == ["bad", "warn"] and "disk full" in lines[0].said
    assert all(line.fix for line in lines)
    assert all(not line.said[0].islower() and line.said.endswith(".") for line in lines)


def test_a_record_that_no_other_host_watches_is_not_called_well() -> None:
    audit = {"durable": 5, "published": 5, "directory": "/a", "second_place": "/b", "free_bytes": 1 << 40}
    lonely = view.health({**audit, "witness": None}, 0)[-1]
    assert (lonely.tone, lonely.tag) == ("quiet", "no witness") and "No other host" in lonely.said
    watched = view.health({**audit, "witness": {"size": 5, "time": 0}}, 60)[-1]
    assert (watched.tone, watched.tag, watched.said) == ("good", "ok", "The witness cosigned 5 events 1 minutes ago.")
    behind = view.health({**audit, "witness": {"size": 9, "time": 0}}, 60)[-1]
    assert behind.tone == "bad" and behind.fix == "Run hpcsec audit verify."


def test_percent() -> None:
    assert json.dumps([view.percent(1, 0), view.percent(5, 10), view.percent(11, 10)]) == "[0, 50, 100]"
