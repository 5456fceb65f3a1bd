"""What attacks on the gateway start from; a file that needs another deployment has a fixture of that name."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.hub.attackers import Enrolled, enrol, no_bugs
from tests.hub.deployment import Deployment


@pytest.fixture
async def deployment(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Deployment]:
    caplog.set_level(logging.INFO)
    made = Deployment(tmp_path)
    await made.start()
    yield made
    await made.stop()
    assert no_bugs(caplog)


@pytest.fixture
async def alice(deployment: Deployment) -> Enrolled:
    return await enrol(deployment)
