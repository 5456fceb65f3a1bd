"""The gateway as a process: reads its configuration, builds the parts, serves until it is told to stop.

The hub may start it as a managed service, or systemd may; it needs nothing of either but its configuration file.
SIGTERM and SIGINT stop it (sessions stay and are taken back by the next one), SIGHUP reads keys and policy anew.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from traitlets import TraitError

from jupyter_hpcsec import __version__
from jupyter_hpcsec.access.policy import parse
from jupyter_hpcsec.access.values import Code
from jupyter_hpcsec.audit.events import Event, Subject
from jupyter_hpcsec.audit.kinds.gateway import GatewayStarted, GatewayStopped
from jupyter_hpcsec.audit.layout import Layout
from jupyter_hpcsec.audit.log import Log
from jupyter_hpcsec.audit.recovery import read_verifier
from jupyter_hpcsec.audit.sinks.lag import states
from jupyter_hpcsec.config import GatewaySettings, HpcsecGateway
from jupyter_hpcsec.errors import HpcsecError, Malformed, Unavailable
from jupyter_hpcsec.hub import nodehelper, record_facts
from jupyter_hpcsec.hub.auditor import Auditor
from jupyter_hpcsec.hub.broker import AUDIENCE, IdentityBroker
from jupyter_hpcsec.hub.configfile import load
from jupyter_hpcsec.hub.gpuviews import GpuViews
from jupyter_hpcsec.hub.metrics import Metrics
from jupyter_hpcsec.hub.policies import Policies, PolicyFile, UnsafeNoPolicy
from jupyter_hpcsec.hub.projectoffice import ProjectOffice
from jupyter_hpcsec.hub.projectstore import FILE, ProjectStore
from jupyter_hpcsec.hub.recall import recall, tail
from jupyter_hpcsec.hub.recordings import Recordings, recordings
from jupyter_hpcsec.hub.revision import Revision
from jupyter_hpcsec.hub.tapping import MakeTap, make_tap
from jupyter_hpcsec.identity.attestation import (
    Attestor,
    MungeAttestor,
    NodeAddresses,
    SchedulerAttestor,
    UnsafeAnyAddress,
    UnsafeNoAttestor,
)
from jupyter_hpcsec.identity.enrolment import Enroller
from jupyter_hpcsec.identity.keys import KeyRing
from jupyter_hpcsec.identity.slurm import SlurmScheduler
from jupyter_hpcsec.projects.rules import Site
from jupyter_hpcsec.tunnel import metricsport
from jupyter_hpcsec.tunnel.admin import AdminServer
from jupyter_hpcsec.tunnel.desk import Desk
from jupyter_hpcsec.tunnel.front import FrontDoor, listen_tcp
from jupyter_hpcsec.tunnel.gateway import Gateway
from jupyter_hpcsec.tunnel.limits import Counters
from jupyter_hpcsec.tunnel.observer import Observer
from jupyter_hpcsec.tunnel.private import passable_directory, private_directory
from jupyter_hpcsec.tunnel.registry import Registry
from jupyter_hpcsec.tunnel.store import Store

BACKLOG = 4096
"""Connections that the kernel holds until they are accepted: all agents come back at once after a restart."""

RETAIN_S = 3600.0
"""Seconds between two looks for what is older than the site keeps."""
FLUSH_S = 10.0
"""Seconds between two events that tell of refusals which were only counted."""

_SLURM_ENVIRONMENT = ("PATH", "SLURM_CONF", "LD_LIBRARY_PATH")


def load_settings(path: Path) -> GatewaySettings:
    """The settings in a configuration file; ``Malformed`` names what is wrong with it."""
    try:
        return load(path, HpcsecGateway).settings()
    except TraitError as exc:
        raise Malformed(f"{path}: {exc}") from exc


def make_attestors(names: tuple[str, ...], *, compares_node_address: bool) -> list[Attestor]:
    """The attestors of a configuration, in its order."""
    environment = {name: os.environ[name] for name in _SLURM_ENVIRONMENT if name in os.environ}
    scheduler = SlurmScheduler(env=environment)
    addresses: NodeAddresses = scheduler if compares_node_address else UnsafeAnyAddress()
    made: dict[str, Attestor] = {
        "scheduler": SchedulerAttestor(scheduler, addresses),
        "munge": MungeAttestor(addresses),
        "none": UnsafeNoAttestor(),
    }
    return [made[name] for name in names]


def make_broker(
    settings: GatewaySettings,
    keyring: KeyRing,
    store: Store,
    policies: Policies,
    admit_project: Callable[[str, str, Sequence[str]], None],
) -> IdentityBroker:
    """Who decides whose session a node's word is."""
    enroller = Enroller(
        keyring,
        make_attestors(settings.attestors, compares_node_address=settings.compares_node_address),
        issuer=settings.issuer,
        audience=AUDIENCE,
        trust_domain=settings.trust_domain,
    )
    return IdentityBroker(
        keyring=keyring,
        enroller=enroller,
        store=store,
        policies=policies,
        recordings=recordings(settings.recording),
        nodes=nodehelper.make_enroller(settings, keyring),
        issuer=settings.issuer,
        token_lifetime_s=settings.token_lifetime_s,
        certificate_lifetime_s=settings.certificate_lifetime_s,
        code=Code(owners=settings.code_owners, unsafe_any=settings.unsafe_user_owned_code),
        admit_project=admit_project,
    )


def make_directories(settings: GatewaySettings) -> None:
    """The gateway's own, and the one through which others reach its sockets."""
    private_directory(settings.state_directory, rule="gateway.state-directory")
    passable_directory(settings.run_directory)


async def serve(
    settings: GatewaySettings,
    log: logging.Logger,
    *,
    ready: asyncio.Event | None = None,
    make_tap: Callable[[GatewaySettings, Auditor], MakeTap | None] = make_tap,
) -> None:
    """Run a gateway until it is cancelled or told to stop by a signal."""
    now = int(time.time())
    counters = Counters()
    make_directories(settings)
    keyring = KeyRing.open(
        settings.state_directory / "keys",
        now=now,
        trust_domain=settings.trust_domain,
        token_life_s=settings.token_lifetime_s,
    )
    store = Store(settings.state_directory / "sessions.sqlite")
    policies = make_policies(settings, log, lambda event: auditor.note(event))  # noqa: PLW0108 - there is none yet
    broker = make_broker(settings, keyring, store, policies, lambda *who: projects.admit(*who))  # noqa: PLW0108
    stop = _heed_signals(broker, log)
    listeners = [listen_tcp(endpoint, BACKLOG) for endpoint in settings.listen]
    record = open_record(settings, log)
    recall(tail(record, Layout(settings.record[0])), store)
    auditor = Auditor(
        record,
        session=store.get,
        clock=time.monotonic,
        facts=partial(record_facts.facts, settings, record.verifier),
    )
    registry = Registry(
        settings,
        store=store,
        counters=counters,
        log=log,
        clock=time.time,
        observer=auditor,
        tap=make_tap(settings, auditor),
    )
    views = GpuViews(auditor, time.monotonic)
    nodes = nodehelper.make_port(settings, store, broker, observer=auditor, counters=counters, log=log, watchers=views)
    gateway = Gateway(
        registry,
        broker,
        limits=settings.limits,
        certificate_lifetime_s=settings.certificate_lifetime_s,
        log=log,
        nodes=nodes,
    )
    revision = Revision(policies, store, registry, grace_s=settings.policy_grace_s, log=log)
    projects = open_projects(settings, auditor)
    desk = Desk(
        registry,
        broker,
        settings=settings,
        counters=counters,
        endpoints=lambda: gateway.endpoints,
        log=log,
        reading=auditor.reading,
        retaining=auditor.retaining,
        record=auditor.status,
        projects=projects,
        policy_text=policies.text,
    )
    metrics = Metrics(
        registry,
        gateway,
        refusals=counters.snapshot,
        health=record.health,
        gpu=lambda: views.facts(nodes.counts(), with_lines=settings.metrics_sessions),
        sinks=lambda: states(settings.record[0], settings.forward),
    )
    admin = AdminServer(
        desk,
        allowed_uids=settings.allowed_uids,
        counters=counters,
        observer=auditor,
        routes=[metricsport.route(metrics.render)],
    )
    loopback = metricsport.MetricsServer(settings.metrics_listen, metrics.render) if settings.metrics_listen else None
    flushing = asyncio.create_task(_flush(auditor, counters))
    retaining = asyncio.create_task(_retain(auditor, settings, log))

    def make_front(**parts: object) -> FrontDoor:
        return FrontDoor(
            listeners,
            limits=settings.limits,
            counters=counters,
            log=log,
            observer=auditor,
            **parts,  # type: ignore[arg-type]
        )

    try:
        gateway.start(make_front)
        group = settings.socket_gid
        admin.listen(settings.admin_socket, mode=0o600 if group is None else 0o660, group=group)
        log.info("gateway %s listens on %s", __version__, ", ".join(gateway.endpoints))
        auditor.note(
            GatewayStarted(
                version=__version__,
                attestors=", ".join(settings.attestors),
                endpoints=", ".join(gateway.endpoints),
            )
        )
        warn_of_what_is_off(settings, log)
        if ready:
            ready.set()
        await _until_stopped(stop, revision)
        log.info("stopping; sessions stay and are taken back by the next gateway")
        auditor.note(GatewayStopped())
    finally:
        flushing.cancel()
        retaining.cancel()
        await admin.stop()
        if loopback:
            await loopback.stop()
        gateway.close()
        store.close()
        projects.shut()
        await asyncio.to_thread(record.close)


def warn_of_what_is_off(settings: GatewaySettings, log: logging.Logger) -> None:
    """What is not for production stands in the log, each time."""
    if "none" in settings.attestors:
        log.warning("ATTESTATION IS OFF: any process that holds a job token can enrol. Not for production.")
    if settings.policy_file is None:
        log.warning("ACCESS CONTROL IS OFF: sessions may read and write whatever their users may.")
    if settings.unsafe_user_owned_code:
        log.warning(
            "THE OWNER OF THE NODES' CODE IS NOT ASKED FOR: users who can change jupyter-hpcsec or its Python "
            "there can take the sandbox away. Not for production."
        )


def open_projects(settings: GatewaySettings, observer: Observer) -> ProjectOffice:
    """The registry of projects, beside the sessions' database."""
    site = Site(
        contact=settings.projects.contact,
        longest_days=settings.projects.longest_days,
        warning_days=settings.projects.warning_days,
    )
    store = ProjectStore(settings.state_directory / FILE)
    told = partial(what_is_told, recordings(settings.recording), has_policy=settings.policy_file is not None)
    return ProjectOffice(store, mode=settings.projects.mode, site=site, observer=observer, told=told)


def what_is_told(recorded: Recordings, groups: Sequence[str], *, has_policy: bool) -> dict[str, str]:
    """What a user of these groups is told before they start: what protects a session, and what is recorded of it."""
    tunnel = "Only you can reach it, through an encrypted tunnel; no port is opened."
    rules = "Your session sees and changes only what your site's rules allow, held by the compute node's kernel."
    without = "Access control is off at this site: your session can read and change whatever your account can."
    return {"access": f"{rules if has_policy else without} {tunnel}", "recording": recorded.told(groups)["text"]}


def open_record(settings: GatewaySettings, log: logging.Logger) -> Log:
    """The audit record; ``Refused`` where it was changed: the gateway does not start on top of it."""
    directory, checkpoints = settings.record
    seen = []
    try:
        witnessed = record_facts.cosigned(settings, read_verifier(Layout(directory)))
        seen = [witnessed.checkpoint] if witnessed else []
    except HpcsecError as error:
        if settings.audit_witness:
            log.warning("the record is not compared with what its witness cosigned: %s", error)
    origin = f"{settings.trust_domain}/audit"
    return Log(directory, origin=origin, second_place=checkpoints, version=__version__, seen=seen)


async def _flush(auditor: Auditor, counters: Counters) -> None:
    while True:
        await asyncio.sleep(FLUSH_S)
        auditor.flush(counters.snapshot())


async def _retain(auditor: Auditor, settings: GatewaySettings, log: logging.Logger) -> None:
    """Remove what is older than the site keeps, and end what a crash has left of a removal."""
    while True:
        try:
            days = settings.audit_retention_days, settings.audit_values_days
            await auditor.retaining(*days, Subject(login="retention"))
        except HpcsecError as error:
            log.warning("retention: %s", error)
        await asyncio.sleep(RETAIN_S)


def make_policies(settings: GatewaySettings, log: logging.Logger, tell: Callable[[Event], None]) -> Policies:
    """Where rules come from, by the configuration."""
    return UnsafeNoPolicy() if settings.policy_file is None else PolicyFile(settings.policy_file, parse, log, tell)


async def _until_stopped(stop: asyncio.Event, revision: Revision) -> None:
    """Wait for a signal; a gateway that can't revoke any more stops with the fault's trace instead of going on."""
    waits = {asyncio.ensure_future(stop.wait()), asyncio.ensure_future(revision.run())}
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in done:
            await wait
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


def _heed_signals(broker: IdentityBroker, log: logging.Logger) -> asyncio.Event:
    """The event that SIGTERM and SIGINT set. Before the port is open: whoever sees that it is may send a signal."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def reload() -> None:
        log.info("reading the keys and the policy anew")
        try:
            broker.reload()
        except HpcsecError as error:
            log.warning("the keys in memory stay as they are: %s", error)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    return stop


def run(config: Path) -> int:
    """Load the configuration and serve; the exit status."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = load_settings(config)
    try:
        asyncio.run(serve(settings, logging.getLogger("hpcsec.gateway")))
    except OSError as exc:
        raise Unavailable(f"the gateway can't run: {exc}") from exc
    return 0
