"""One world for all tests of the suite."""

from collections.abc import Iterator

import pytest

from tests.ops.attack.world import World, made


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    with made() as world:
        yield world
