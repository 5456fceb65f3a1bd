"""The OpenSearch sink: its bulk call, by the project's own client. Elasticsearch's bulk call is the same.

A document's ``_id`` is the event's id and it is only ever created, so that one that is sent twice is there once.
"""

import asyncio
import importlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from jupyter_hpcsec.audit.sinks.items import Item, Rejected
from jupyter_hpcsec.audit.sinks.tls import context, secret
from jupyter_hpcsec.config_forward import OpenSearchSink
from jupyter_hpcsec.errors import Refused, Unavailable

CONFLICT = 409
TOO_MANY = 429


class OpenSearchTarget:
    """Sends to ``settings.urls``."""

    window = 1
    settle_s = 0.0

    def __init__(self, settings: OpenSearchSink) -> None:
        try:
            self._module: Any = importlib.import_module("opensearchpy")
        except ImportError as error:
            raise Refused(
                "sink.package", "the opensearch sink needs its client: pip install 'jupyter-hpcsec[opensearch]'"
            ) from error
        self._settings = settings
        self._client: Any = None

    async def send(self, items: Sequence[Item]) -> list[Rejected]:
        """Create the documents; those that are there already count as created."""
        return await asyncio.to_thread(self._send, items)

    async def confirm(self) -> None:
        """What ``send`` has returned from was acknowledged."""

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(client.close)

    def _connect(self) -> Any:
        settings = self._settings
        given: dict[str, Any] = {"timeout": settings.timeout_s, "max_retries": 0, "retry_on_timeout": False}
        if not settings.unsafe_no_tls:
            given["ssl_context"] = context(settings)
        if settings.username:
            given["http_auth"] = (settings.username, secret(settings.password_file))
        return self._module.OpenSearch(hosts=list(settings.urls), **given)

    def _send(self, items: Sequence[Item]) -> list[Rejected]:
        lines = [line for item in items for line in self._lines(item)]
        try:
            if self._client is None:
                self._client = self._connect()
            answer = self._client.bulk(body="\n".join(lines) + "\n")
            answered = [result["create"] for result in answer["items"]]
        except self._module.OpenSearchException as error:
            raise Unavailable(f"{self._settings.urls[0]}: {_said(error)}") from error
        except (KeyError, TypeError) as error:
            raise Unavailable(f"{self._settings.urls[0]}: the answer is not that of a bulk call") from error
        if len(answered) != len(items):
            raise Unavailable(f"{self._settings.urls[0]}: {len(answered)} answers for {len(items)} events")
        return self._judge(items, answered)

    def _lines(self, item: Item) -> tuple[str, str]:
        moment = datetime.fromtimestamp(item.time_s, UTC)
        action = {"create": {"_index": moment.strftime(self._settings.index), "_id": item.id}}
        document = {"@timestamp": item.event["time"], **item.shaped(self._settings.format)}
        return json.dumps(action), json.dumps(document)

    def _judge(self, items: Sequence[Item], answered: Sequence[dict[str, Any]]) -> list[Rejected]:
        """One answer each. What another time may do is ``Unavailable`` for all: those that are there are no matter."""
        rejected = []
        for item, answer in zip(items, answered, strict=True):
            status, said = int(answer.get("status", 500)), json.dumps(answer.get("error", ""))[:200]
            if status < 300 or status == CONFLICT:
                continue
            if status == TOO_MANY or status >= 500 or status in (401, 403, 404):
                raise Unavailable(f"{self._settings.urls[0]}: {status} for an event: {said}")
            rejected.append(Rejected(item, f"{status}: {said}"))
        return rejected


def _said(error: Exception) -> str:
    status = getattr(error, "status_code", "")
    hints = {401: ": check username and password_file", 403: ": this user may not write there", 413: ": lower batch"}
    return f"{type(error).__name__} {status}{hints.get(status, '')}" if isinstance(status, int) else str(error)[:200]
