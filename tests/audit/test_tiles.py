"""Paths, bundles and tiles as the specification's own examples say."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.audit.layout import Layout, parse_tile_path, tile_path
from jupyter_hpcsec.audit.merkle import Frontier, inclusion_proof, leaf_hash, root_of, verify_inclusion
from jupyter_hpcsec.audit.tiles import Edge, Tiles, decode_bundle, encode_bundle, level_size, split_hashes
from jupyter_hpcsec.errors import HpcsecError, Malformed


def test_the_specifications_paths() -> None:
    assert tile_path("0", 1234067) == "tile/0/x001/x234/067"
    assert tile_path("3", 5, 7) == "tile/3/005.p/7"
    assert tile_path("entries", 0) == "tile/entries/000"


@given(st.integers(0, 10**12), st.integers(1, 256), st.sampled_from(["0", "1", "63", "entries"]))
def test_paths_there_and_back(index: int, width: int, level: str) -> None:
    assert parse_tile_path(tile_path(level, index, width)) == (level, index, width)


@pytest.mark.parametrize(
    "path",
    ["tile/0/1", "tile/0/0001", "tile/0/x001", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/07",
     "tile/0/x000/001", "tile/0/000.p/", "tile", "checkpoint", "tile/0/000.p/٣", "tile/0/000.new"],
)  # fmt: skip
def test_what_is_no_path_of_a_tile(path: str) -> None:
    assert parse_tile_path(path) is None


@given(st.lists(st.binary(max_size=300), max_size=30))
def test_bundles_there_and_back(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries)) == entries


@given(st.binary(max_size=100))
def test_arbitrary_bytes_as_a_bundle(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        assert encode_bundle(decode_bundle(data)) == data


@pytest.mark.parametrize("data", [b"", bytes(31), bytes(33), bytes(257 * 32)])
def test_what_is_no_tile(data: bytes) -> None:
    with pytest.raises(Malformed):
        split_hashes(data)


def grown(layout: Layout, size: int, steps: int) -> list[bytes]:
    """A tree grown in ``steps`` publications."""
    hashes = [leaf_hash(b"%d" % number) for number in range(size)]
    edge = Edge([], [], 0)
    for step in range(steps):
        made: dict[Path, bytes] = {}
        for number in range(size * step // steps, size * (step + 1) // steps):
            edge.append(b"%d" % number, hashes[number], layout, made)
        edge.partials(layout, made)
        for path, data in made.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    assert edge.frontier().root() == root_of(hashes)
    return hashes


def test_a_tree_of_70000_has_the_tiles_that_the_specification_counts(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    hashes = grown(layout, 70_000, 1)
    names = {str(path.relative_to(layout.log)) for path in layout.log.rglob("*") if path.is_file()}
    assert len([name for name in names if name.startswith("tile/0/") and ".p/" not in name]) == 273
    assert {name for name in names if ".p/" in name} == {
        "tile/0/273.p/112",
        "tile/entries/273.p/112",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
    }
    assert "tile/1/000" in names
    tiles = Tiles(layout, 70_000)
    root = tiles.frontier().root()
    assert root == root_of(hashes)
    for index in (0, 255, 256, 65_535, 65_536, 69_999):
        assert verify_inclusion(hashes[index], index, 70_000, inclusion_proof(index, 70_000, tiles.subtree), root)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 512, 700])
def test_a_stored_tree_is_taken_up_at_its_edge(tmp_path: Path, size: int) -> None:
    layout = Layout(tmp_path)
    hashes = grown(layout, size, 3)
    for earlier in (1, size // 2 or 1, size):
        tiles = Tiles(layout, earlier)
        if level_size(1, earlier) % 256 and not layout.tile(1, 0, level_size(1, earlier) % 256).exists():
            continue  # a size that was never published
        try:
            assert tiles.frontier().root() == root_of(hashes[:earlier])
        except FileNotFoundError:
            assert earlier != size
    edge = Edge.of(Tiles(layout, size))
    edge.append(b"next", leaf_hash(b"next"), layout, {})
    assert edge.frontier().root() == root_of([*hashes, leaf_hash(b"next")])


def test_a_tile_that_is_too_short(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    grown(layout, 300, 1)
    layout.tile(0, 1, 44).write_bytes(bytes(43 * 32))
    layout.bundle(1, 44).write_bytes(encode_bundle([b"x"]))
    with pytest.raises(HpcsecError, match="43 hashes, not 44"):
        Tiles(layout, 300).hashes(0, 1)
    with pytest.raises(HpcsecError, match="1 entries, not 44"):
        Tiles(layout, 300).entries(1)


def test_an_empty_tree(tmp_path: Path) -> None:
    assert Edge.of(Tiles(Layout(tmp_path), 0)).frontier().root() == Frontier().root()
