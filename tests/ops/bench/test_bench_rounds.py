from dataclasses import replace

from jupyter_hpcsec.ops.bench.rounds import QUICK, in_turns


async def asked(effort: object) -> list[str]:
    names: list[str] = []

    async def ask(name: str) -> None:
        names.append(name)

    await in_turns(effort, ["a", "b", "c"], ask)  # type: ignore[arg-type]
    return names


async def test_time_that_is_over_ends_a_measure_but_not_before_its_least_rounds() -> None:
    assert len(await asked(replace(QUICK, rounds=5, least_rounds=2, measure_s=-1.0))) == 6


async def test_each_round_asks_all_and_begins_with_another() -> None:
    found = await asked(replace(QUICK, rounds=4, least_rounds=1, measure_s=1000.0))
    assert "".join(found) == "abcbcacababc"
