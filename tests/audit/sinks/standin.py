"""Stand-ins for collectors that speak HTTP: they answer as the documented interfaces of OpenSearch and Splunk do.

They are no OpenSearch and no Splunk, neither of which Debian or PyPI has. What they hold can be asked; what they answer
can be told.
"""

import json
import ssl
from collections import Counter
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from tests.audit.sinks.certificates import Issuer


class Server:
    """An HTTPS server with one handler class on the loopback, for the name ``collector.test``."""

    def __init__(self, directory: Path, handler: type[RequestHandler], state: Any) -> None:
        self.issuer = Issuer(directory / "pki")
        certificate, key = self.issuer.issue("localhost")
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate, key)
        sockets = bind_sockets(0, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        self._server = HTTPServer(
            Application([(r".*", handler, {"state": state})], log_function=lambda _: None), ssl_options=tls
        )
        self._server.add_sockets(sockets)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    async def stop(self) -> None:
        self._server.stop()
        await self._server.close_all_connections()


class Bulk:
    """What an OpenSearch holds: documents by index and id. ``answers`` come first, ``refuses`` are ids."""

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], dict[str, Any]] = {}
        self.order: list[str] = []
        self.answers: list[int] = []
        self.refuses: set[str] = set()
        self.statuses: Counter[int] = Counter()
        self.authorization: set[str] = set()

    def create(self, index: str, name: str, document: dict[str, Any]) -> dict[str, Any]:
        about = {"_index": index, "_id": name}
        if name in self.refuses:
            error = {"type": "mapper_parsing_exception", "reason": "failed to parse field [reason]"}
            return {**about, "status": 400, "error": error}
        if (index, name) in self.documents:
            return {**about, "status": 409, "error": {"type": "version_conflict_engine_exception"}}
        if self.answers and self.answers[0] == 429:
            self.answers.pop(0)
            return {**about, "status": 429, "error": {"type": "rejected_execution_exception"}}
        self.documents[index, name] = document
        self.order.append(name)
        return {**about, "status": 201, "result": "created"}


class BulkHandler(RequestHandler):
    """``POST /_bulk``: newline-delimited JSON, an action and a document each."""

    def initialize(self, state: Bulk) -> None:
        self._state = state

    def post(self) -> None:
        assert self.request.path == "/_bulk", self.request.path
        self._state.authorization.add(self.request.headers.get("Authorization", ""))
        if self._state.answers and self._state.answers[0] != 429:
            self.set_status(self._state.answers.pop(0))
            self.finish({"error": {"type": "told"}})
            return
        lines = self.request.body.split(b"\n")
        assert lines.pop() == b""
        items = []
        for action, document in zip(lines[::2], lines[1::2], strict=True):
            ((kind, about),) = json.loads(action).items()
            assert kind == "create"
            items.append({"create": self._state.create(about["_index"], about["_id"], json.loads(document))})
            self._state.statuses[items[-1]["create"]["status"]] += 1
        self.finish({"took": 1, "errors": any(item["create"]["status"] >= 300 for item in items), "items": items})


class Hec:
    """What a Splunk holds. ``ack``: with indexer acknowledgement, given at the ``late``-th question."""

    def __init__(self, *, ack: bool = True, late: int = 1) -> None:
        self.ack, self.late = ack, late
        self.events: list[dict[str, Any]] = []
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.refuses: set[str] = set()
        self.asked: Counter[int] = Counter()
        self.channels: set[str] = set()
        self.given = 0


class HecHandler(RequestHandler):
    """``/services/collector/event`` and ``/services/collector/ack``."""

    def initialize(self, state: Hec) -> None:
        self._state = state

    def post(self) -> None:
        state = self._state
        if self.request.headers.get("Authorization") != "Splunk s3cret-token":
            self.set_status(403)
            self.finish({"text": "Invalid token", "code": 4})
            return
        state.channels.add(self.request.headers["X-Splunk-Request-Channel"])
        if self.request.path == "/services/collector/ack":
            assert self.get_query_argument("channel") in state.channels
            numbers = json.loads(self.request.body)["acks"]
            state.asked.update(numbers)
            self.finish({"acks": {str(number): state.asked[number] >= state.late for number in numbers}})
            return
        assert self.request.path == "/services/collector/event", self.request.path
        if state.answers:
            status, body = state.answers.pop(0)
            self.set_status(status)
            self.finish(body)
            return
        self._take(self.request.body.decode())

    def _take(self, text: str) -> None:
        state, decoder, at, taken = self._state, json.JSONDecoder(), 0, list[dict[str, Any]]()
        while at < len(text):
            event, at = decoder.raw_decode(text, at)
            if event["fields"]["event_id"] in state.refuses:
                self.set_status(400)
                self.finish({"text": "Invalid data format", "code": 6, "invalid-event-number": len(taken)})
                return
            taken.append(event)
        state.events += taken
        answer: dict[str, Any] = {"text": "Success", "code": 0}
        if state.ack:
            answer["ackId"] = state.given
            state.given += 1
        self.finish(answer)
