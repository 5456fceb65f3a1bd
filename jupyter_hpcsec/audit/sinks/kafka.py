"""The Kafka sink: all in-sync replicas acknowledge (``acks=all``), the producer is idempotent, the key is the session.

One key's events go to one partition and keep their order there; an event without a session has its producer for a key.
"""

import asyncio
import importlib
from collections.abc import Sequence
from typing import Any

from jupyter_hpcsec.audit.sinks.items import Item, Rejected
from jupyter_hpcsec.audit.sinks.tls import context, secret
from jupyter_hpcsec.config_forward import KafkaSink
from jupyter_hpcsec.errors import Refused, Unavailable


class KafkaTarget:
    """Sends to ``settings.topic`` at ``settings.servers``."""

    window = 1
    settle_s = 0.0

    def __init__(self, settings: KafkaSink) -> None:
        try:
            self._module: Any = importlib.import_module("aiokafka")
            self._errors: Any = importlib.import_module("aiokafka.errors")
        except ImportError as error:
            raise Refused(
                "sink.package", "the kafka sink needs its client: pip install 'jupyter-hpcsec[kafka]'"
            ) from error
        self._settings = settings
        self._producer: Any = None

    async def send(self, items: Sequence[Item]) -> list[Rejected]:
        """Produce, and wait for all acknowledgements."""
        rejected: list[Rejected] = []
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                if self._producer is None:
                    self._producer = await self._connect()
                waiting = []
                for item in items:
                    try:
                        waiting.append(await self._produce(item))
                    except self._errors.MessageSizeTooLargeError as error:
                        rejected.append(Rejected(item, str(error)))
                for each in waiting:
                    await each
        except (self._errors.KafkaError, OSError) as error:
            raise Unavailable(f"{self._settings.servers[0]}: {type(error).__name__} {error}"[:300]) from error
        return rejected

    async def _produce(self, item: Item) -> Any:
        key = str(item.event.get("session") or item.event["producer"])
        headers = [("id", item.id.encode()), ("kind", str(item.event["kind"]).encode())]
        return await self._producer.send(
            self._settings.topic,
            item.line(self._settings.format),
            key=key.encode(),
            headers=headers,
            timestamp_ms=int(item.time_s * 1000),
        )

    async def confirm(self) -> None:
        """What ``send`` has returned from was acknowledged."""

    async def close(self) -> None:
        """Close the connections."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stop(producer, self._errors.KafkaError)

    async def _connect(self) -> Any:
        settings = self._settings
        given: dict[str, Any] = {}
        if not settings.unsafe_no_tls:
            given["ssl_context"] = context(settings)
        if settings.username:
            given |= {
                "sasl_mechanism": settings.sasl_mechanism,
                "sasl_plain_username": settings.username,
                "sasl_plain_password": secret(settings.password_file),
            }
        transport = "PLAINTEXT" if settings.unsafe_no_tls else "SSL"
        producer = self._module.AIOKafkaProducer(
            bootstrap_servers=list(settings.servers),
            client_id="hpcsec-forward",
            acks="all",
            enable_idempotence=True,
            max_request_size=settings.message_bytes,
            request_timeout_ms=int(settings.timeout_s * 1000),
            security_protocol=f"SASL_{transport}" if settings.username else transport,
            **given,
        )
        try:
            await producer.start()
        except BaseException:
            await _stop(producer, self._errors.KafkaError)
            raise
        return producer


async def _stop(producer: Any, error: type[Exception]) -> None:
    try:
        async with asyncio.timeout(5):
            await producer.stop()
    except (error, OSError):  # what was not acknowledged is sent again in any case
        return
