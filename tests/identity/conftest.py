"""A deployment's keys, as the gateway makes them on its first start."""

from pathlib import Path

import pytest

from tests.identity.ring import open_ring


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    open_ring(tmp_path / "keys")
    return tmp_path / "keys"
