"""``hpcsec gpu node watch``: root's watch as a long-lived process of the node. What it sees is ``gpu.nodewatch``'s.

Every finding goes to syslog and into the spool; a gateway that is named gets it from there. It listens on nothing. Root
stays root, since MUNGE and the maps ask who it is, but holds no privilege beyond looking at processes.
"""

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import sys
import syslog
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from jupyter_hpcsec.access.prctl import SET_NO_NEW_PRIVS, SYS_PTRACE, drop_capabilities, prctl
from jupyter_hpcsec.audit.events import ToldByRoot
from jupyter_hpcsec.audit.kinds.gpunode import GpuNodeAlert, GpuNodeHeartbeat, GpuNodeWatch
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable, printable
from jupyter_hpcsec.gpu import maps
from jupyter_hpcsec.gpu.alerts import TITLES, Alert
from jupyter_hpcsec.gpu.devices import present
from jupyter_hpcsec.gpu.keeper import INTERVAL_S
from jupyter_hpcsec.gpu.launch import MAPS
from jupyter_hpcsec.gpu.nodewatch import NodeView, NodeWatch, Told
from jupyter_hpcsec.gpu.settings import Settings
from jupyter_hpcsec.hub.nodehelper import RootCredentials
from jupyter_hpcsec.identity.authority import authority_name
from jupyter_hpcsec.ops.gpu.spooling import SPOOL
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.nodelink import NodeCredentials, NodeLink
from jupyter_hpcsec.tunnel.nodespool import NodeSpool
from jupyter_hpcsec.tunnel.silence import TOTALS_S

CA_LIMIT = 64 * 1024
DESCRIPTORS = 256
SHOWN_S = 30.0
"""Between two views of one job: what has not changed is shown so often."""
SHOWN_JOBS = 128


def node_name() -> str:
    """The node's name where the site names none: the host's, without its domain, as Slurm has it by default."""
    return socket.gethostname().partition(".")[0]


def read_authority(path: Path) -> bytes:
    """The gateway's authority as DER, from a PEM file that only root can change (``hpcsec keys authority``)."""
    try:
        facts = path.stat()
        text = path.read_bytes()[: CA_LIMIT + 1]
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}; `hpcsec keys authority` prints it on the hub's host.") from error
    if facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
        raise Refused("node.authority", f"{path} can be changed by others: run `chown root {path}; chmod 644 {path}`")
    try:
        return x509.load_pem_x509_certificate(text).public_bytes(Encoding.DER)
    except ValueError as error:
        raise Malformed(f"{path} holds no certificate in PEM.") from error


def to_syslog(sentence: str) -> None:
    """One line, of the security facility."""
    syslog.openlog("hpcsec-gpu", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
    syslog.syslog(syslog.LOG_WARNING, printable(sentence, 900))


def event_of(told: Told, *, simulated: bool) -> ToldByRoot:
    """As the record keeps it."""
    if not isinstance(told, Alert):
        return GpuNodeWatch(state=told.state, reason=told.reason, blind=json.dumps(msgspec.to_builtins(told.blind)))
    finding = told.finding
    return GpuNodeAlert(
        part="watch",
        state="raised" if told.raised else "cleared",
        job=str(finding.evidence.get("job", "")),
        rule=finding.rule,
        reason=TITLES[finding.rule],
        device=finding.device,
        pid=finding.pid,
        confidence=finding.confidence,
        threshold=finding.threshold,
        evidence=json.dumps(dict(finding.evidence), sort_keys=True),
        simulated=simulated,
    )


def line_of(event: ToldByRoot) -> str:
    """For syslog: what happened, in one line."""
    shown = {name: value for name, value in msgspec.to_builtins(event).items() if value not in ("", {}, 0, False)}
    return " ".join(f"{name}={value}" for name, value in shown.items())


@dataclass
class RootWatch:
    """The helper. ``gateways`` may be empty: then what it finds is kept on the node and goes to syslog."""

    node: str
    gateways: Sequence[str] = ()
    ca: bytes = b""
    spool: Path = SPOOL
    maps: Path = MAPS
    settings: Settings = field(default_factory=Settings)
    stand_in: str = ""
    state: str = ""
    interval_s: float = INTERVAL_S
    stall_s: float = 15.0
    log: Callable[[str], None] = to_syslog
    say: Callable[[str], None] = lambda sentence: print(sentence, file=sys.stderr, flush=True)
    credentials: NodeCredentials | None = None
    watch: NodeWatch = field(init=False)
    link: NodeLink | None = field(default=None, init=False)

    async def run(self) -> int:
        """Watch until SIGTERM or SIGINT; the exit status."""
        if not self.stand_in and not present():
            self.say("there is no GPU on this node: nothing to watch")
            return 0
        self._spool = NodeSpool(self.spool)
        self._shown: dict[str, tuple[m.Seen, float]] = {}
        self._queue: asyncio.Queue[m.Seen] = asyncio.Queue(maxsize=SHOWN_JOBS)
        self.watch = NodeWatch(
            maps=lambda: maps.read_all(self.maps),
            tell=lambda told: self.tell(event_of(told, simulated=bool(self.stand_in))),
            show=self._show,
            settings=self.settings,
            stand_in=self.stand_in,
            state=self.state,
            interval_s=self.interval_s,
            stall_s=self.stall_s,
        )
        self.link = self._make_link() if self.gateways else None
        work = [self.watch.run(), self._beat()]
        if self.link:
            work += [self.link.run(), self._send_views()]
        else:
            self.say(f"no gateway is named: findings go to syslog and are kept in {self.spool}")
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        tasks = [loop.create_task(each) for each in (*work, _wait(stop))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._spool.close()
        return 0

    def _make_link(self) -> NodeLink:
        if not self.ca:
            raise Malformed("name the gateway's authority: --ca FILE (hpcsec keys authority prints it)")
        return NodeLink(
            self._spool,
            self.credentials or RootCredentials(self.node),
            node=self.node,
            endpoints=self.gateways,
            ca=self.ca,
            server_name=authority_name,
            say=self._tell_link,
        )

    def _tell_link(self, sentence: str) -> None:
        self.say(sentence)
        self.log(f"{sentence}; findings are kept in {self.spool} until it is" if "not" in sentence else sentence)

    def tell(self, event: ToldByRoot) -> None:
        """To syslog, and into the spool. A disk that takes nothing keeps nobody from watching."""
        if not isinstance(event, GpuNodeHeartbeat):
            self.log(line_of(event))
        try:
            if not self._spool.put(event):
                self.log("the spool is full: what is told now is in syslog alone, and counted")
        except HpcsecError as error:
            self.log(f"not kept: {error.reason}")

    async def _beat(self) -> None:
        while True:
            with contextlib.suppress(HpcsecError):
                told, _ = self._spool.counts()
                self.tell(
                    GpuNodeHeartbeat(
                        devices=self.watch.devices,
                        jobs=len(self.watch.judgement.holds),
                        standing=len(self.watch.judgement.standing),
                        events=told + 1,
                    )
                )
            await asyncio.sleep(TOTALS_S)

    def _show(self, view: NodeView) -> None:
        """What changed, and now and then what did not."""
        held = [m.Held(device=each.device, pids=list(each.pids[:128]), memory=each.memory) for each in view.holds[:256]]
        seen = m.Seen(
            job=view.job, held=held, blind=list(view.blind[:128]), namespace=pid_namespace(), simulated=view.simulated
        )
        now = asyncio.get_running_loop().time()
        before = self._shown.get(view.job)
        if before and before[0] == seen and now - before[1] < SHOWN_S:
            return
        if self._queue.full():
            return
        self._shown[view.job] = seen, now
        while len(self._shown) > SHOWN_JOBS:
            self._shown.pop(next(iter(self._shown)))
        self._queue.put_nowait(seen)

    async def _send_views(self) -> None:
        while True:
            seen = await self._queue.get()
            if self.link:
                await self.link.show(seen)


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()


def pid_namespace() -> int:
    """The inode of this process's pid namespace: pids of another one mean nothing here (pid_namespaces(7))."""
    return os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - a link of the kernel's, which pathlib would resolve


def give_up_privileges() -> None:
    """Root's name stays; of root's privileges, looking at others' processes where /proc hides them (hidepid)."""
    drop_capabilities(keep=SYS_PTRACE)
    prctl(SET_NO_NEW_PRIVS, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def run(watch: RootWatch, euid: int | None = None) -> int:
    """As root, and with no more of root than it needs."""
    if (os.geteuid() if euid is None else euid) != 0:
        raise Refused("gpu.root", "this is root's watch on the node; systemd starts it (hpcsec-gpu-node.service)")
    give_up_privileges()
    return asyncio.run(watch.run())
