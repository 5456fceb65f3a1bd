"""The load generator's handle: orders to a load client, answers from it. See ``load_client`` for the orders."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.ops.family import Family

READY_S = 20.0
ORDER_S = 150.0


def module(name: str, *arguments: str) -> list[str]:
    """The command line of a module of this package."""
    return [sys.executable, "-I", "-m", f"jupyter_hpcsec.{name}", *arguments]


async def until_exists(path: Path, family: Family, what: str, patience_s: float = READY_S) -> None:
    """Wait for a socket or a file; ``Unavailable`` when it does not come, or when a part ends meanwhile."""
    try:
        async with asyncio.timeout(patience_s):
            while not os.access(path, os.F_OK):
                family.check()
                await asyncio.sleep(0.02)
    except TimeoutError as exc:
        raise Unavailable(f"{what} did not begin within {patience_s:g} s") from exc


class LoadClient:
    """One load client process; ``name`` tells several apart."""

    def __init__(self, name: str, family: Family, directory: Path) -> None:
        self._name, self._family, self._directory = name, family, directory
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def start(self) -> None:
        """Start the process and connect to it."""
        path = self._directory / f"{self._name}.sock"
        self._family.start(
            self._name,
            module("ops.bench.load_client", str(path)),
            environment=dict(os.environ),
            directory=self._directory,
        )
        await until_exists(path, self._family, "the load client")
        while self._writer is None:
            try:
                self._reader, self._writer = await asyncio.open_unix_connection(str(path), limit=1 << 24)
            except ConnectionRefusedError:  # bound, and about to listen
                await asyncio.sleep(0.01)

    async def order(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Give an order; the answer, with ``cpu``: the seconds that the client itself used."""
        if self._reader is None or self._writer is None:
            raise ValueError("BUG: an order before the start")
        try:
            self._writer.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            async with asyncio.timeout(ORDER_S):
                line = await self._reader.readline()
        except ConnectionError as exc:
            raise Unavailable("the load client ended by itself") from exc
        except TimeoutError as exc:
            raise Unavailable(f"{do} did not end within {ORDER_S:g} s") from exc
        if not line:
            raise Unavailable("the load client ended by itself")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Unavailable(f"{do} failed: {answer['error']}")
        return answer

    def close(self) -> None:
        """Let the process go."""
        if self._writer:
            self._writer.close()


def where(entrance: Path | Sequence[Any]) -> str | list[Any]:
    """An entrance as the load client wants it."""
    return str(entrance) if isinstance(entrance, Path) else list(entrance)
