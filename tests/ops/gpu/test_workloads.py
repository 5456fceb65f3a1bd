"""Legitimate work is not accused of what it does not do, and the table says so."""

from jupyter_hpcsec.ops.gpu.workloads import as_table, false_alarms


def test_what_is_published_can_be_repeated_and_holds() -> None:
    found = false_alarms(2)
    assert found == false_alarms(2)
    for name, accused in found.items():
        expected = {"R6"} if "terminal" in name else set()
        assert set(accused) - {"R3"} == expected, name
    assert not found["training"] and not found["data loading"]
    table = as_table(found, 2)
    assert "| training in a terminal | 0 % | 0 % | 0 % | 0 % | 0 % | 100 % | 0 % | 0 % |" in table
