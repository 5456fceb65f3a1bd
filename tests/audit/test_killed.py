"""kill -9 at random moments under load, and disks that take nothing: what was acknowledged stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.audit.records import Place, python
from tests.audit.test_log import events, kinds

KILLS = int(os.environ.get("HPCSEC_TEST_KILLS", "200"))
REPOSITORY = Path(__file__).parents[2]

# One process that forks the writers, so that a kill costs no start of Python: it has no threads and writes nothing.
KILLER = """
import contextlib, os, random, signal, struct, sys, time
from pathlib import Path
from jupyter_hpcsec.audit.kinds.connections import LaneOpened
from jupyter_hpcsec.audit.kinds.sessions import SessionEnded
from jupyter_hpcsec.audit.reader import Reader
from jupyter_hpcsec.audit.recovery import read_verifier
from tests.audit.records import Place

place, kills, chance = Place(Path(sys.argv[1])), int(sys.argv[2]), random.Random(7)

def write(out):
    log = place.open()
    number = 0
    while True:
        for _ in range(5):
            log.note(LaneOpened(session="load"), "gateway")
        receipts = [log.record(LaneOpened(session=str(number + i)), "gateway") for i in range(9)]
        receipts.append(log.record(SessionEnded(session=str(number)), "gateway", {"source": b"x" * 50}))
        number += len(receipts)
        for receipt in receipts:
            index = receipt.result()
        os.write(out, struct.pack(">Q", index))

for number in range(kills):
    ours, theirs = os.pipe()
    writer = os.fork()
    if not writer:
        os.close(ours)
        try:
            write(theirs)
        finally:
            os._exit(1)
    os.close(theirs)
    with open(ours, "rb") as acknowledged:
        first = acknowledged.read(8)
        assert len(first) == 8, "the writer could not begin"
        if number % 8 == 7:  # now and then one lives for long enough to publish what those before it have left
            reader = Reader(place.layout, read_verifier(place.layout))
            size = max(reader.checkpoint().size, struct.unpack(">Q", first)[0])
            while reader.checkpoint().size <= size:
                time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.03))
        os.kill(writer, signal.SIGKILL)
        told = first + acknowledged.read()
    os.waitpid(writer, 0)
    last = struct.unpack_from(">Q", told, len(told) // 8 * 8 - 8)[0]
    durable = [index for index, _ in Reader(place.layout, read_verifier(place.layout)).durable(last)]
    assert durable and durable[0] == last, f"kill {number} lost event {last}, which was acknowledged"
    if number % 40 == 39:
        found = set(place.found())
        assert found <= {"journal.unfinished", "file.stray", "value.stray", "value.damaged"}, found
print("done")
"""


@pytest.mark.timeout(600)
def test_killed_at_random_moments_under_load(place: Place) -> None:
    killer = python(KILLER, str(place.directory), str(KILLS), cwd=REPOSITORY)
    out, _ = killer.communicate()
    assert out == b"done\n"
    place.open().close()
    assert place.found() == []
    found = events(place)
    assert [event["seq"] for event in found] == list(range(1, len(found) + 1))
    assert [event["boot"] for event in found if event["kind"] == "audit.opened"] == list(range(1, KILLS + 2))
    assert kinds(place)[-1] == "audit.closed"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "p")


FULL = """
import sys, time
from pathlib import Path
from jupyter_hpcsec.audit.kinds.connections import LaneOpened
from jupyter_hpcsec.errors import Unavailable
from tests.audit.records import Place
place = Place(Path(sys.argv[1]) / "p")
ballast = Path(sys.argv[1]) / "ballast"
ballast.write_bytes(bytes(512 * 1024))
log = place.open()
last = 0
try:
    while True:
        last = log.record(LaneOpened(session="x" * 200), "gateway").result()
except Unavailable as error:
    assert "No space left" in error.reason, error.reason
ballast.unlink()
while log.health().why:
    time.sleep(0.05)
again = log.record(LaneOpened(session="again"), "gateway").result()
assert again > last, (again, last)
log.close()
print(place.found(), log.health().durable > last > 100)
"""

READ_ONLY = """
import subprocess, sys
from pathlib import Path
from jupyter_hpcsec.errors import Unavailable
from tests.audit.records import Place
place = Place(Path(sys.argv[1]) / "p")
place.fill(300, values=3)
subprocess.run(["mount", "-o", "remount,ro", sys.argv[1]], check=True)
assert place.found() == []
try:
    place.open()
    raise SystemExit("it was opened")
except Unavailable as error:
    assert "Read-only" in error.reason, error.reason
subprocess.run(["mount", "-o", "remount,rw", sys.argv[1]], check=True)
place.fill(1)
print(place.found(), place.verify().size == 308)
"""


@pytest.mark.parametrize("program", [FULL, READ_ONLY], ids=["full", "read-only"])
def test_a_real_disk_that_takes_nothing(tmp_path: Path, program: str) -> None:
    """A small tmpfs in a mount namespace of its own."""
    script = f'mount -t tmpfs -o size=2m,mode=700 none {tmp_path} && exec {sys.executable} -c "$0" {tmp_path}'
    made = subprocess.run(
        ["unshare", "-Urm", "bash", "-c", script, program],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    if "unshare" in made.stderr or "mount:" in made.stderr:
        pytest.skip("no user namespaces here")
    assert made.returncode == 0, made.stderr[-2000:]
    assert made.stdout.strip() == "[] True"
