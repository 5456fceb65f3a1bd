"""Records for tests: made in a moment, copied, damaged, verified."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_hpcsec.audit.kinds.connections import LaneOpened
from jupyter_hpcsec.audit.kinds.sessions import SessionEnded
from jupyter_hpcsec.audit.layout import Layout
from jupyter_hpcsec.audit.log import Log
from jupyter_hpcsec.audit.verify import Report, verify

ORIGIN = "test.example/audit"


class Place:
    """A directory with a record and its second place."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700, exist_ok=True)
        self.layout = Layout(directory / "audit")
        self.second = directory / "checkpoints"

    def open(self, **changes: Any) -> Log:
        settings: dict[str, Any] = {"origin": ORIGIN, "second_place": self.second, "checkpoint_s": 0.02}
        return Log(self.layout.directory, **(settings | changes))

    def fill(self, number: int, *, values: int = 0) -> None:
        """Record ``number`` events, then ``values`` of them with a sealed value, and close."""
        log = self.open()
        receipts = [log.record(LaneOpened(session=f"{i:032x}"), "gateway") for i in range(number)]
        receipts += [
            log.record(SessionEnded(session=f"{i:032x}"), "gateway", {"source": b"print(%d)" % i})
            for i in range(values)
        ]
        for receipt in receipts:
            receipt.result(20)
        log.close()

    def copy(self, directory: Path) -> "Place":
        shutil.copytree(self.directory, directory)
        return Place(directory)

    def verify(self, **changes: Any) -> Report:
        return verify(self.layout, **({"second_place": self.second} | changes))

    def found(self, **changes: Any) -> list[str]:
        return [finding.what for finding in self.verify(**changes).findings]

    def files(self) -> list[Path]:
        return sorted(path for path in self.directory.rglob("*") if path.is_file() and path.stat().st_size)


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def python(code: str, *arguments: str, **settings: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, env={**os.environ}, **settings
    )
