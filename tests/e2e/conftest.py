"""Fixtures of the end-to-end tests that need a whole site: see ``site`` and ``person``."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.e2e.clusteruse import cluster_use
from tests.e2e.person import Person, person
from tests.e2e.site import Site


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site of the module's own, on the one cluster; other test runs wait."""
    with cluster_use() as cluster:
        cluster.up()
        site = Site(cluster)
        try:
            site.start()
            yield site
        finally:
            site.stop()


@pytest.fixture
async def alice(site: Site) -> AsyncIterator[Person]:
    async with person(site, "alice") as someone:
        yield someone


@pytest.fixture
async def bob(site: Site) -> AsyncIterator[Person]:
    async with person(site, "bob") as someone:
        yield someone


@pytest.fixture
async def carol(site: Site) -> AsyncIterator[Person]:
    async with person(site, "carol") as someone:
        yield someone
