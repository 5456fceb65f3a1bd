"""When totals are due, and when a node counts as silent."""

from jupyter_hpcsec.tunnel.silence import SILENT_S, TOTALS_S, Silence


def test_silence_is_told_once_and_so_is_its_end() -> None:
    watch = Silence(100)
    assert watch.due(100 + SILENT_S - 1)[1] == 0
    assert watch.due(100 + SILENT_S)[1] == SILENT_S
    assert watch.due(100 + SILENT_S + 10)[1] == 0
    assert watch.heard(100 + SILENT_S + 20) == SILENT_S + 20
    assert watch.heard(100 + SILENT_S + 21) == 0
    assert watch.due(100 + SILENT_S + 22)[1] == 0


def test_totals_come_now_and_then() -> None:
    watch = Silence(0)
    assert not watch.due(TOTALS_S - 1)[0]
    assert watch.due(TOTALS_S)[0]
    assert not watch.due(TOTALS_S + 1)[0]
    assert watch.due(2 * TOTALS_S)[0]
