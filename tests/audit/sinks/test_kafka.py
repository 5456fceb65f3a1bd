"""The Kafka sink against the broker that librdkafka brings for tests: another implementation of the protocol than ours.

A Kafka server itself is neither in Debian nor on PyPI.
"""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.sinks.items import Item, Source
from jupyter_hpcsec.audit.sinks.kafka import KafkaTarget
from jupyter_hpcsec.config_forward import KafkaSink
from jupyter_hpcsec.errors import Refused, Unavailable
from tests.audit.records import Place
from tests.audit.sinks.receiving import add, cursor, forwarder, numbers, running, until
from tests.audit.sinks.test_file import item

PARTITIONS = 4
"""Of a topic that the broker makes by itself."""


class Broker:
    """The broker lives in a producer of librdkafka's (``test.mock.num.brokers``)."""

    def __init__(self) -> None:
        self._owner = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "", "log_level": 0})
        (broker,) = self._owner.list_topics(timeout=60).brokers.values()
        self.address = f"{broker.host}:{broker.port}"

    def messages(self, topic: str, enough: Callable[[list[Any]], bool]) -> list[Any]:
        """The messages of a topic as they come, until they are enough."""
        reader = Consumer({"bootstrap.servers": self.address, "group.id": "test", "enable.auto.commit": False})
        reader.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        found: list[Any] = []
        while not enough(found):
            message = reader.poll(60)
            assert message is not None, f"only {len(found)} messages"
            assert message.error() is None, message.error()
            found.append(message)
        reader.close()
        return found


@pytest.fixture(scope="module")
def broker() -> Broker:
    return Broker()


def target(broker: Broker, **changes: Any) -> KafkaTarget:
    given = {"servers": [broker.address], "topic": "audit", "unsafe_no_tls": True}
    return KafkaTarget(KafkaSink(**(given | changes)))


def of_session(number: int, session: str) -> Item:
    return Item(number, json.dumps({**item(number).event, "session": session}).encode())


async def test_without_a_broker_it_is_said() -> None:
    sending = KafkaTarget(KafkaSink(servers=["127.0.0.1:1"], topic="audit", unsafe_no_tls=True))
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await sending.send([item(0)])
    await sending.close()


async def test_a_broker_without_tls_gets_nothing(broker: Broker) -> None:
    sending = KafkaTarget(KafkaSink(servers=[broker.address], topic="audit", timeout_s=5))
    with pytest.raises(Unavailable):
        await sending.send([item(0)])
    await sending.close()


async def test_one_sessions_events_keep_their_order(broker: Broker, tmp_path: Path) -> None:
    place = Place(tmp_path / "record")
    log = place.open()
    files.make_directory(tmp_path / "state")
    add(log, 25)
    async with running(forwarder(target(broker, topic="order"), Source(place.layout.directory), tmp_path / "state")):
        await until(lambda: (tmp_path / "state" / "test.cursor").exists(), "a cursor")
        await until(lambda: cursor(tmp_path / "state").next >= 26, "all of it")
    log.close()
    sending = target(broker, topic="order")
    assert await sending.send([of_session(n, f"{n % 3:032x}") for n in range(12)]) == []
    await sending.close()
    got = broker.messages("order", lambda found: len(of_sessions(found)) == 12 and len(found) >= 26 + 12)
    assert numbers([json.loads(message.value()) for message in got]) == list(range(25))
    sessions = of_sessions(got)
    for session in {message.key() for message in sessions}:
        ours = [message for message in sessions if message.key() == session]
        assert len({message.partition() for message in ours}) == 1
        in_order = sorted(ours, key=lambda message: message.offset())
        sequence = [json.loads(message.value())["seq"] for message in in_order]
        assert sequence == sorted(sequence)
        assert dict(in_order[0].headers())["id"] == json.loads(in_order[0].value())["id"].encode()


def of_sessions(messages: list[Any]) -> list[Any]:
    return [message for message in messages if len(message.key()) == 32]


async def test_what_is_too_large_comes_back(broker: Broker) -> None:
    sending = target(broker, message_bytes=2000)
    (rejected,) = await sending.send([item(100), item(101, "x" * 4000)])
    await sending.close()
    assert rejected.item.id == "id-101"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(Refused, match=r"pip install 'jupyter-hpcsec\[kafka\]'"):
        KafkaTarget(KafkaSink(servers=["x.example:9092"], topic="audit"))
