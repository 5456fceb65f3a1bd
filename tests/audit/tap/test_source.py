"""Where a request came from: by trusted proxies' word, from the end of the list."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.audit.tap.source import source_of

TRUSTED = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("forwarded", "source"),
    [
        (b"", ""),
        (b"nonsense", ""),
        (b"6.6.6.6, nonsense", ""),
        (b"6.6.6.6, 192.0.2.1", "192.0.2.1"),
        (b"6.6.6.6, 192.0.2.1, 10.1.1.1, fd00::1", "192.0.2.1"),
        (b"6.6.6.6, nonsense, 10.1.1.1", "10.1.1.1"),
        (b"10.1.1.1", "10.1.1.1"),
        (b"::ffff:192.0.2.7", "192.0.2.7"),
        (b"2001:db8::1", "2001:db8::1"),
    ],
)
def test_the_last_that_is_not_ours(forwarded: bytes, source: str) -> None:
    assert source_of(forwarded, TRUSTED) == source


@given(st.binary(max_size=200))
def test_whatever_browsers_write(forwarded: bytes) -> None:
    assert source_of(forwarded + b", 192.0.2.1", TRUSTED) == "192.0.2.1"
