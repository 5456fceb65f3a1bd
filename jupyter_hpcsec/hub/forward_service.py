"""``hpcsec audit forward`` as a process: reads its configuration and serves each sink until it is told to stop.

It runs as the gateway's user, since nobody else may read the record, and needs nothing of a running gateway but that
one notes that events leave. One sink's trouble is no other's.
"""

import asyncio
import contextlib
import logging
import signal
import sys
import time
from pathlib import Path

from traitlets import TraitError

from jupyter_hpcsec.audit.files import make_directory
from jupyter_hpcsec.audit.sinks.file import FileTarget
from jupyter_hpcsec.audit.sinks.forwarder import Forwarder
from jupyter_hpcsec.audit.sinks.items import Source, Target
from jupyter_hpcsec.audit.sinks.kafka import KafkaTarget
from jupyter_hpcsec.audit.sinks.opensearch import OpenSearchTarget
from jupyter_hpcsec.audit.sinks.splunk import SplunkTarget
from jupyter_hpcsec.audit.sinks.syslog import SyslogTarget
from jupyter_hpcsec.config_forward import (
    SINKS,
    FileSink,
    ForwardSettings,
    HpcsecForward,
    KafkaSink,
    OpenSearchSink,
    SplunkSink,
    SyslogSink,
)
from jupyter_hpcsec.errors import HpcsecError, Malformed
from jupyter_hpcsec.hub.configfile import load
from jupyter_hpcsec.tunnel.admin import AdminClient

TELL_S = 30.0
"""Between two attempts to have it recorded that events are forwarded."""


def load_settings(path: Path) -> ForwardSettings:
    """The settings in a configuration file; ``Malformed`` names what is wrong with it."""
    try:
        return load(path, HpcsecForward).settings()
    except TraitError as exc:
        raise Malformed(f"{path}: {exc}") from exc


def make_target(settings: SINKS) -> Target:
    """The receiver of a sink. A missing package is named with the extra that brings it."""
    match settings:
        case FileSink():
            return FileTarget(settings, time.time)
        case SyslogSink():
            return SyslogTarget(settings)
        case OpenSearchSink():
            return OpenSearchTarget(settings)
        case SplunkSink():
            return SplunkTarget(settings)
        case KafkaSink():
            return KafkaTarget(settings)


def where(settings: SINKS) -> str:
    """Where a sink's events go, for people and for the record."""
    match settings:
        case FileSink():
            return settings.path
        case SyslogSink():
            return f"{settings.host}:{settings.port}"
        case OpenSearchSink():
            return ", ".join(settings.urls)
        case SplunkSink():
            return settings.url
        case KafkaSink():
            return f"{settings.topic} at {', '.join(settings.servers)}"


async def tell(name: str, settings: SINKS, admin: AdminClient, log: logging.Logger) -> None:
    """Have the gateway record that events leave; tried until one answers."""
    query = f"forward to the sink {name}: {settings.__struct_config__.tag} {where(settings)}"
    while True:
        try:
            await admin.audit_read(action="export", query=query, found=0, with_values=settings.unsafe_sealed_values)
        except HpcsecError as error:
            log.warning("sink %s: that it is forwarded to is not on record yet: %s", name, error.reason)
            await asyncio.sleep(TELL_S)
        else:
            return


async def _serve_one(name: str, settings: SINKS, source: Source, of: ForwardSettings, log: logging.Logger) -> None:
    admin = AdminClient(of.admin_socket)
    telling = asyncio.create_task(tell(name, settings, admin, log))
    try:
        if settings.unsafe_sealed_values:
            log.warning("sink %s: SEALED VALUES ARE SENT ALONG. They can't be shredded where they went.", name)
            await telling  # what is sealed leaves only once it is on record that it does
        forwarder = Forwarder(
            name,
            make_target(settings),
            source,
            of.state,
            batch=settings.batch,
            with_values=settings.unsafe_sealed_values,
            log=log,
        )
        await forwarder.run()
    finally:
        telling.cancel()


async def serve(settings: ForwardSettings, log: logging.Logger) -> None:
    """Forward to all sinks until SIGTERM or SIGINT."""
    make_directory(settings.state)
    source = Source(settings.record)
    for each in settings.sinks.values():
        make_target(each)  # what is missing is said now, before anything is sent
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_serve_one(name, each, source, settings, log)) for name, each in settings.sinks.items()
        ]
        log.info("forwarding %s to %s", settings.record, ", ".join(settings.sinks))
        waiting = group.create_task(stop.wait())
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(waiting)
        for task in tasks:
            task.cancel()


def run(config: Path) -> int:
    """Load the configuration and serve; the exit status."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(serve(load_settings(config), logging.getLogger("hpcsec.forward")))
    return 0
