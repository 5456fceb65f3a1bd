import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.errors import Malformed, Refused
from jupyter_hpcsec.tunnel.limits import OTHER, Cap, Counters, RateLimit, address_key


@pytest.mark.parametrize("address", ["", "localhost", "1.2.3", "1.2.3.4:80", "::1]", "1.2.3.4\n", "01.2.3.4"])
def test_what_is_no_address_has_no_key(address: str) -> None:
    with pytest.raises(Malformed):
        address_key(address)


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:DB8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_an_ipv6_host_is_limited_by_its_64(address: str, key: str) -> None:
    assert address_key(address) == key


@given(st.ip_addresses(v=6))
def test_neighbours_in_a_64_share_a_key(address: object) -> None:
    first = address_key(str(address))
    if "/" in first:
        assert address_key(first.removesuffix("/64")) == first


def test_a_burst_then_the_rate() -> None:
    limit = RateLimit(rate=2, burst=3)
    assert [limit.allow("a", 10.0) for _ in range(4)] == [True, True, True, False]
    assert limit.allow("b", 10.0), "another key has its own bucket"
    assert not limit.allow("a", 10.4)
    assert limit.allow("a", 10.5)
    assert not limit.allow("a", 10.5)
    assert [limit.allow("a", 100.0) for _ in range(4)] == [True, True, True, False], "a bucket never overflows"


def test_a_clock_that_steps_back_gives_nothing() -> None:
    limit = RateLimit(rate=1, burst=1)
    assert limit.allow("a", 100.0)
    assert not limit.allow("a", 50.0)
    assert not limit.allow("a", 100.5), "time up to the latest one seen was counted already"
    assert limit.allow("a", 101.0)


@given(
    rate=st.sampled_from([0.5, 1.0, 4.0]),
    burst=st.integers(1, 5),
    steps=st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0]), max_size=60),
)
def test_no_span_of_time_sees_more_than_burst_and_rate(rate: float, burst: int, steps: list[float]) -> None:
    limit, now, allowed = RateLimit(rate, burst), 0.0, []
    for step in steps:
        now += step
        if limit.allow("a", now):
            allowed.append(now)
    for first in range(len(allowed)):
        for last in range(first, len(allowed)):
            assert last - first + 1 <= burst + rate * (allowed[last] - allowed[first]) + 1e-9
    assert limit.allow("a", now + 1 / rate), "and what the rate grants is not withheld"


def test_its_memory_is_bounded_and_the_last_used_stay() -> None:
    limit = RateLimit(rate=0.001, burst=1, keys=10)
    assert limit.allow("kept", 0)
    for number in range(1000):
        limit.allow(str(number), 0)
        assert not limit.allow("kept", 0), "a busy key is not pushed out by strangers"
    assert len(limit) == 10


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0), (float("nan"), 1)])
def test_a_limit_without_meaning_is_a_bug(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="BUG"):
        RateLimit(rate, burst)


def test_a_cap_refuses_above_its_limit() -> None:
    cap = Cap(2)
    assert [cap.acquire(), cap.acquire(), cap.acquire()] == [True, True, False]
    with pytest.raises(Refused) as error, cap.place("lanes.session", "Too many lanes."):
        pytest.fail("the place was given although none was free")
    assert error.value.rule == "lanes.session"
    cap.release()
    with pytest.raises(ZeroDivisionError), cap.place("lanes.session", "Too many lanes."):
        _ = 1 // (cap.held - 2)
    assert cap.held == 1
    cap.release()
    with pytest.raises(RuntimeError, match="BUG"):
        cap.release()
    with pytest.raises(ValueError, match="BUG"):
        Cap(-1)
    assert not Cap(0).acquire()


def test_counters_tell_a_bounded_number_of_rules_apart() -> None:
    counters = Counters(rules=3)
    for rule in ("b", "a", "c", "d", "e", "a"):
        counters.count(rule)
    counters.count("b", by=5)
    snapshot = counters.snapshot()
    assert list(snapshot.items()) == [("a", 2), ("b", 6), ("c", 1), (OTHER, 2)]
    snapshot["a"] = 99
    assert counters.snapshot()["a"] == 2
