"""Sealed values: commitments bind, lines have one form, crashes and shredding leave what they should."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.audit import values
from jupyter_hpcsec.audit.layout import Layout
from jupyter_hpcsec.audit.values import Kept, commitment, seal
from jupyter_hpcsec.errors import Malformed

SALT = bytes(32)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.values.mkdir()
    return layout


def kept(leaf: int, value: bytes = b"v", name: str = "source") -> Kept:
    return Kept(leaf, name, SALT, value)


def test_a_commitment_binds_salt_name_and_value() -> None:
    made = commitment(SALT, "source", b"value")
    assert made == commitment(SALT, "source", b"value")
    others = [
        commitment(bytes(31) + b"\x01", "source", b"value"),
        commitment(SALT, "sourc", b"evalue"),
        commitment(SALT, "source", b"value2"),
    ]
    assert made not in others


def test_equal_values_are_sealed_differently() -> None:
    salts = iter([b"a" * 32, b"b" * 32])
    sealed, beside = seal(3, {"one": b"x", "two": b"x"}, lambda n: next(salts))
    assert len(set(sealed.values())) == 2
    assert [each.leaf for each in beside] == [3, 3]


@given(st.integers(0, 2**50), st.binary(max_size=200))
def test_lines_there_and_back(leaf: int, value: bytes) -> None:
    made = kept(leaf, value)
    assert Kept.parse(made.line()) == made
    gone = Kept(leaf, "source", b"", None)
    assert Kept.parse(gone.line()) == gone


@given(st.binary(max_size=100))
def test_arbitrary_bytes_are_no_line(data: bytes) -> None:
    with pytest.raises(Malformed):
        Kept.parse(data)


@pytest.mark.parametrize(
    "line",
    [
        b'{"leaf":1,"name":"source","salt":"","value":""}',
        b'{"leaf": 1,"name":"source","salt":"","value":""}\n',
        b'{"leaf":1.0,"name":"source","salt":"","value":""}\n',
        b'{"leaf":true,"name":"source","salt":"","value":""}\n',
        b'{"leaf":1,"name":"so urce","salt":"","value":""}\n',
        b'{"leaf":1,"name":"source","salt":"","value":"","x":1}\n',
        b'{"leaf":1,"name":"source","shredded":false}\n',
        b"[1]\n",
    ],
)
def test_lines_in_another_form(line: bytes) -> None:
    with pytest.raises(Malformed):
        Kept.parse(line)


def test_values_of_leaves_that_never_came_to_be_are_dropped(layout: Layout) -> None:
    values.append(layout, [kept(leaf) for leaf in (0, 255, 256, 300)])
    path = layout.value_file(256)
    path.write_bytes(path.read_bytes() + b'{"leaf":301,"na')
    assert values.drop_from(layout, 257) == 2
    assert [each.leaf for each in values.read_file(layout.value_file(0))] == [0, 255]
    assert [each.leaf for each in values.read_file(path)] == [256]
    assert path.stat().st_mode & 0o777 == 0o600
    assert values.find(layout, 9999) == []


def test_shredding_leaves_the_others(layout: Layout) -> None:
    values.append(layout, [kept(1, b"one"), kept(1, b"two", "output"), kept(2)])
    descriptor = layout.value_file(1).open("rb")
    assert values.shred(layout, 1, "source")
    assert not values.shred(layout, 1, "source")
    assert not values.shred(layout, 900, "source")
    assert [(each.name, each.value) for each in values.find(layout, 1)] == [("source", None), ("output", b"two")]
    assert set(descriptor.read()) == {0}  # the old content is overwritten where it stood
    descriptor.close()


@pytest.mark.parametrize(
    "wrong", [{"Name": b""}, {"a b": b""}, {"": b""}, {"a" * 33: b""}, {"a": bytes(values.VALUE_LIMIT + 1)},
              {f"a{n}": b"" for n in range(17)}]
)  # fmt: skip
def test_what_can_not_be_sealed(wrong: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match="BUG"):
        values.check(wrong)
