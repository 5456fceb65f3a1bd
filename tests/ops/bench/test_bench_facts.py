import os

import pytest

from jupyter_hpcsec.ops.bench.facts import cpu_model, machine, memory_gib


@pytest.mark.parametrize("text", ["", "model name :\n", "flags : x\n"])
def test_a_cpu_without_a_name_is_told_by_its_architecture(text: str) -> None:
    assert cpu_model(text) == os.uname().machine


@pytest.mark.parametrize(
    "text", ["processor : 0\nmodel name\t: Some CPU: v2\n", "Model : Some CPU: v2\n", "cpu : Some CPU: v2\n"]
)
def test_the_names_that_architectures_use(text: str) -> None:
    assert cpu_model(text) == "Some CPU: v2"


def test_memory() -> None:
    assert memory_gib("nothing") == 0
    assert memory_gib("MemTotal:  8388608 kB\nMemFree: 1 kB\n") == 8.0


def test_a_machine_says_what_it_lacks_and_what_it_has() -> None:
    facts = machine("/nonexistent")
    assert facts["ssh"] == "not installed"
    assert facts["cores"] >= 1
    assert facts["openssl"].startswith("OpenSSL")
