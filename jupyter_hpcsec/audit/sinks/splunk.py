"""The Splunk sink: the HTTP Event Collector, with indexer acknowledgement where the token has it on.

Without it Splunk answers once it has taken the events into memory; with it the cursor waits until they are indexed.
"""

import asyncio
import json
import secrets
import time
import uuid
from collections.abc import Sequence
from typing import Any

import httpx

from jupyter_hpcsec.audit.sinks.items import Item, Rejected
from jupyter_hpcsec.audit.sinks.tls import context, secret
from jupyter_hpcsec.config_forward import SplunkSink
from jupyter_hpcsec.errors import Unavailable

EVENTS, ACKS = "/services/collector/event", "/services/collector/ack"
INVALID_DATA = (6, 12, 13, 14, 15)
"""Codes that mean an event, not the request: invalid format, empty or missing event, and its fields."""
POLL_S = 0.5


class SplunkTarget:
    """Sends to ``settings.url``."""

    window = 1
    settle_s = 0.0

    def __init__(self, settings: SplunkSink) -> None:
        self._settings = settings
        self._client: httpx.AsyncClient | None = None
        self._channel = str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))

    async def send(self, items: Sequence[Item]) -> list[Rejected]:
        """Hand events over, and wait until they are indexed."""
        rejected: list[Rejected] = []
        left = list(items)
        while left:
            answer = await self._post(EVENTS, b"".join(self._encoded(item) for item in left))
            number = answer.get("invalid-event-number")
            if answer.get("code") in INVALID_DATA and type(number) is int and 0 <= number < len(left):
                # those before it may have been taken; they are sent again, rather than believed to be
                rejected.append(Rejected(left.pop(number), f"{answer.get('code')}: {answer.get('text')}"))
                continue
            if answer.get("code") != 0:
                raise Unavailable(f"{self._settings.url}: {answer.get('code')}: {str(answer.get('text'))[:200]}")
            await self._acknowledged(answer)
            break
        return rejected

    async def confirm(self) -> None:
        """What ``send`` has returned from was acknowledged."""

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _encoded(self, item: Item) -> bytes:
        settings = self._settings
        shown: dict[str, Any] = {
            "time": round(item.time_s, 6),
            "source": settings.source,
            "sourcetype": settings.sourcetype,
            "fields": {"event_id": item.id},
            "event": item.shaped(settings.format),
        }
        if settings.index:
            shown["index"] = settings.index
        return json.dumps(shown).encode()

    async def _acknowledged(self, answer: dict[str, Any]) -> None:
        if not self._settings.ack or "ackId" not in answer:
            if self._settings.ack and answer.get("code") == 0:
                raise Unavailable(
                    f"{self._settings.url}: the token has no indexer acknowledgement; turn it on, or set ack = False"
                )
            return
        number = answer["ackId"]
        deadline = time.monotonic() + self._settings.ack_s
        while time.monotonic() < deadline:
            found = await self._post(f"{ACKS}?channel={self._channel}", json.dumps({"acks": [number]}).encode())
            acks = found.get("acks")
            if isinstance(acks, dict) and acks.get(str(number)) is True:
                return
            await asyncio.sleep(POLL_S)
        raise Unavailable(f"{self._settings.url}: not indexed within {self._settings.ack_s:.0f} s; it is sent again")

    async def _post(self, path: str, data: bytes) -> dict[str, Any]:
        if self._client is None:
            self._client = self._connect()
        try:
            response = await self._client.post(path, content=data)
            answer = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(f"{self._settings.url}: {type(error).__name__} {error}"[:300]) from error
        if not isinstance(answer, dict):
            raise Unavailable(f"{self._settings.url}: {response.status_code}, and no answer of an event collector")
        if response.status_code not in (200, 400):
            said = str(answer.get("text", ""))[:200]
            hint = " Check token_file, and that the token is enabled." if response.status_code in (401, 403) else ""
            raise Unavailable(f"{self._settings.url}: {response.status_code} {said}.{hint}")
        return answer

    def _connect(self) -> httpx.AsyncClient:
        settings = self._settings
        return httpx.AsyncClient(
            base_url=settings.url,
            verify=True if settings.unsafe_no_tls else context(settings),
            timeout=settings.timeout_s,
            headers={
                "Authorization": f"Splunk {secret(settings.token_file)}",
                "X-Splunk-Request-Channel": self._channel,
            },
            follow_redirects=False,
            trust_env=False,
        )
