"""A world that tests fill with what the doctor is to see."""

import pytest

from jupyter_hpcsec.ops.doctor.fake import FakeWorld


@pytest.fixture
def world() -> FakeWorld:
    return FakeWorld()
