"""The simulated library of ``tests/gpu``, here too."""

from tests.gpu.conftest import stand_in, state

__all__ = ["stand_in", "state"]
