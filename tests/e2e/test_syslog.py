"""The syslog sink with a real rsyslog over TLS: refusals first, then delivery, through restarts and kills of it."""

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.sinks.items import Source
from jupyter_hpcsec.audit.sinks.syslog import SyslogTarget
from jupyter_hpcsec.config_forward import SyslogSink
from jupyter_hpcsec.ops.ports import LOOPBACK, claim_any
from tests.audit.records import Place
from tests.audit.sinks.certificates import Issuer
from tests.audit.sinks.receiving import add, cursor, forwarder, numbers, running, until
from tests.e2e.site import wait_until

RSYSLOG = shutil.which("rsyslogd", path="/usr/sbin:/sbin:/usr/bin")
DRIVER = next((name for name in ("gtls", "ossl") if list(Path("/usr/lib").glob(f"*/rsyslog/lmnsd_{name}.so"))), "")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not RSYSLOG or not DRIVER, reason="needs rsyslog and rsyslog-gnutls"),
]

CONFIG = """
global(workDirectory="{work}" maxMessageSize="128k" defaultNetstreamDriver="{driver}"
       defaultNetstreamDriverCAFile="{ca}" defaultNetstreamDriverCertFile="{cert}"
       defaultNetstreamDriverKeyFile="{key}")
main_queue(queue.type="Direct")
module(load="imtcp" streamDriver.name="{driver}" streamDriver.mode="1" streamDriver.authMode="x509/name"
       permittedPeer=["hub.test"])
template(name="raw" type="string" string="%rawmsg%\\n")
input(type="imtcp" address="{address}" port="{port}" ruleset="keep")
ruleset(name="keep" queue.type="Direct") {{
  action(type="omfile" file="{out}" template="raw")
}}
"""


class Rsyslog:
    """An rsyslog of the test's own: its files are below ``directory``, its port is on the loopback."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory, self.out = directory, directory / "received"
        self.issuer = Issuer(directory / "pki")
        certificate, key = self.issuer.issue("collector.test")
        self.hub = self.issuer.issue("hub.test")
        self.claim = claim_any()
        self.port = self.claim.port
        facts = {"work": directory, "driver": DRIVER, "ca": self.issuer.ca, "cert": certificate, "key": key}
        self.config = directory / "rsyslog.conf"
        self.config.write_text(CONFIG.format(**facts, address=LOOPBACK, port=self.port, out=self.out))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert RSYSLOG
        argv = [RSYSLOG, "-n", "-f", str(self.config), "-i", str(self.directory / "pid")]
        self._process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: self._listens(), "rsyslog listens")

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "rsyslog ended"
        sockets = Path(f"/proc/{self._process.pid}/net/tcp").read_text()
        return f"0100007F:{self.port:04X} 00000000:0000 0A" in sockets

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None
            (self.directory / "pid").unlink(missing_ok=True)

    def messages(self) -> list[str]:
        return self.out.read_text().splitlines() if self.out.exists() else []

    def events(self) -> list[dict[str, Any]]:
        """What was received, but for a line that a kill cut."""
        found = []
        for line in self.messages():
            try:
                found.append(json.loads(line[line.index("] {") + 2 :]))
            except ValueError:
                continue
        return found


@pytest.fixture
def rsyslog(tmp_path: Path) -> Iterator[Rsyslog]:
    made = Rsyslog(tmp_path / "rsyslog")
    made.start()
    yield made
    made.stop(signal.SIGKILL)
    made.claim.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "record")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    files.make_directory(tmp_path / "state")
    return tmp_path / "state"


def settings(rsyslog: Rsyslog, **changes: Any) -> SyslogSink:
    certificate, key = rsyslog.hub
    given = {
        "host": LOOPBACK,
        "port": rsyslog.port,
        "server_name": "collector.test",
        "ca_file": str(rsyslog.issuer.ca),
        "certificate_file": str(certificate),
        "key_file": str(key),
        "settle_s": 0.2,
    }
    return SyslogSink(**(given | changes))


async def test_whom_it_does_not_know_gets_nothing(rsyslog: Rsyslog, place: Place, state: Path, tmp_path: Path) -> None:
    place.fill(3)
    source = Source(place.layout.directory)
    other = Issuer(tmp_path / "other")
    stranger, key = other.issue("hub.test")
    for wrong in (
        {"ca_file": str(other.ca)},
        {"server_name": "elsewhere.test"},
        {"certificate_file": str(stranger), "key_file": str(key)},
        {"certificate_file": "", "key_file": ""},
    ):
        async with running(forwarder(SyslogTarget(settings(rsyslog, **wrong)), source, state)):
            await until(lambda: (state / "test.cursor").exists() and bool(cursor(state).error), f"an error: {wrong}")
            assert cursor(state).next == 0
        (state / "test.cursor").unlink()
    assert rsyslog.messages() == []
    async with running(forwarder(SyslogTarget(settings(rsyslog)), source, state)):
        await until(lambda: len(rsyslog.events()) >= 3, "the events")


async def test_messages_are_those_of_the_rfc(rsyslog: Rsyslog, place: Place, state: Path) -> None:
    log = place.open()
    add(log, 3)
    async with running(forwarder(SyslogTarget(settings(rsyslog)), Source(place.layout.directory), state)):
        await until(lambda: (state / "test.cursor").exists() and cursor(state).next >= 4, "the cursor")
    log.close()
    line = rsyslog.messages()[1]
    assert re.match(r'<110>1 \S+Z \S+ hpcsec - connection\.refused \[event@32473 leaf="1" id="[0-9a-f-]{36}" ', line)
    assert numbers(rsyslog.events()) == [0, 1, 2]


async def test_nothing_is_lost_when_rsyslog_restarts_or_is_killed(rsyslog: Rsyslog, place: Place, state: Path) -> None:
    log = place.open()
    target = SyslogTarget(settings(rsyslog, window=40))
    sent = 0
    async with running(forwarder(target, Source(place.layout.directory), state)):
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            add(log, 60, sent)
            sent += 60
            await until(lambda: len(numbers(rsyslog.events())) > 0, "some")
            rsyslog.stop(number)
            add(log, 20, sent)
            sent += 20
            rsyslog.start()
        await until(lambda: cursor(state).next >= sent + 1, "all of it")
    log.close()
    received = numbers(rsyslog.events())
    assert set(received) == set(range(sent))
    assert list(dict.fromkeys(received)) == list(range(sent))
