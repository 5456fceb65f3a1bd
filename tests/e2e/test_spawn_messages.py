"""What a person is told while a server starts, and when it can't: a sentence with the scheduler's own reason."""

import pytest

from tests.e2e.person import Person
from tests.e2e.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.slurm, pytest.mark.timeout(300)]

async def test_smoke(site: Site, alice: Person) -> None:
    import time
    for i in range(3):
        t=time.time()
        print(await alice.start())
        print(time.time()-t); t=time.time()
        k = await alice.kernel()
        print(await k.run("x=42\nprint(x)"))
        k.close()
        print(time.time()-t); t=time.time()
        await alice.stop()
        print(time.time()-t)
