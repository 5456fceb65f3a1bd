"""Uploads and downloads a file as JupyterLab does, and compares the hashes.

Upload: chunked ``PUT api/contents`` (chunks are numbered from 1, the last one is -1, as in JupyterLab).
Download: ``GET files/``. Random bytes, so that nothing on the way can compress them.
"""

import base64
import hashlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

from jupyter_hpcsec.errors import Refused

CHUNK = 1024 * 1024
"""Bytes; JupyterLab's ``CHUNK_SIZE``."""


class Client(Protocol):
    """The part of ``browser.Browser`` that is needed here."""

    async def fetch(self, method: str, path: str, body: Any = None) -> object:
        """A script's request."""

    def chunks(self, path: str) -> AsyncIterator[bytes]:
        """A download's body."""


def upload_bodies(blocks: Iterator[bytes], count: int) -> Iterator[dict[str, Any]]:
    """The JSON body of each of ``count`` requests; ``blocks`` are at most ``CHUNK`` bytes each."""
    for number, block in enumerate(blocks, start=1):
        yield {
            "type": "file",
            "format": "base64",
            "chunk": -1 if number == count else number,
            "content": base64.b64encode(block).decode("ascii"),
        }


async def upload(client: Client, base: str, name: str, blocks: Iterator[bytes], count: int) -> str:
    """Upload ``count`` blocks as ``name`` below ``base`` (such as ``/user/ada/``); the SHA-256 of what was sent."""
    digest = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for block in blocks:
            digest.update(block)
            yield block

    for body in upload_bodies(hashed(), count):
        await client.fetch("PUT", f"{base}api/contents/{name}", body)
    return digest.hexdigest()


async def download(client: Client, base: str, name: str) -> tuple[str, int]:
    """(SHA-256, bytes) of the file as it comes back."""
    digest, size = hashlib.sha256(), 0
    async for chunk in client.chunks(f"{base}files/{name}"):
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def compare(sent: tuple[str, int], received: tuple[str, int]) -> dict[str, Any]:
    """The facts for the report; ``Refused`` when hash or size differ."""
    if sent != received:
        raise Refused(
            "transfer.hash", f"Sent {sent[1]} bytes {sent[0][:16]}…, got {received[1]} bytes {received[0][:16]}…."
        )
    return {"bytes": sent[1], "sha256": sent[0]}
