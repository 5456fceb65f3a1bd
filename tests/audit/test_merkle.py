"""The tree against the vectors of Certificate Transparency, against pymerkle, and against every wrong proof nearby."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from jupyter_hpcsec.audit import merkle
from jupyter_hpcsec.errors import Malformed

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""Those that the reference implementation of RFC 6962 is tested with: leaves, and the root of each number of them."""


def subtree_of(hashes: list[bytes]) -> merkle.Subtree:
    return lambda level, index: merkle.perfect_root(hashes[index << level : (index + 1) << level])


def leaves(number: int) -> list[bytes]:
    return [b"leaf %d" % i for i in range(number)]


@pytest.mark.parametrize("size", range(9))
def test_the_vectors_of_certificate_transparency(size: int) -> None:
    assert merkle.root_of(map(merkle.leaf_hash, LEAVES[:size])).hex() == ROOTS[size]


def test_the_published_proofs() -> None:
    hashes = [merkle.leaf_hash(leaf) for leaf in LEAVES]
    subtree = subtree_of(hashes)
    assert [each.hex() for each in merkle.inclusion_proof(5, 8, subtree)] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    assert [each.hex() for each in merkle.consistency_proof(6, 8, subtree)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=70), st.data())
def test_roots_and_proofs_are_those_of_pymerkle(entries: list[bytes], data: st.DataObject) -> None:
    oracle = InmemoryTree(algorithm="sha256")
    hashes = []
    for entry in entries:
        oracle.append_entry(entry)
        hashes.append(merkle.leaf_hash(entry))
    size = len(entries)
    subtree = subtree_of(hashes)
    assert merkle.root_of(hashes) == oracle.get_root()
    old = data.draw(st.integers(1, size))
    assert merkle.root_of(hashes[:old]) == oracle.get_root(old)
    index = data.draw(st.integers(0, old - 1))
    theirs = oracle.prove_inclusion(index + 1, old).path
    assert merkle.inclusion_proof(index, old, subtree) == theirs[1:]  # pymerkle's path begins with the leaf itself


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 64, 65])
def test_inclusion_holds_for_its_own_leaf_index_size_and_root_only(size: int) -> None:
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves(size)]
    root = merkle.root_of(hashes)
    for index in range(size):
        proof = merkle.inclusion_proof(index, size, subtree_of(hashes))
        assert merkle.verify_inclusion(hashes[index], index, size, proof, root)
        assert not merkle.verify_inclusion(hashes[index], index, size, [*proof, root], root)
        assert not merkle.verify_inclusion(hashes[index], size, size, proof, root)
        assert not merkle.verify_inclusion(merkle.leaf_hash(b"other"), index, size, proof, root)
        assert not merkle.verify_inclusion(hashes[index], index, size, proof, bytes(32))
        if proof:
            assert not merkle.verify_inclusion(hashes[index], index, size, proof[:-1], root)
            assert not merkle.verify_inclusion(hashes[index], (index + 1) % size, size, proof, root)


def test_consistency_holds_for_all_pairs_and_no_other_roots() -> None:
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves(40)]
    roots = [merkle.root_of(hashes[:size]) for size in range(41)]
    for new in range(41):
        for old in range(new + 1):
            proof = merkle.consistency_proof(old, new, subtree_of(hashes))
            assert merkle.verify_consistency(old, new, roots[old], roots[new], proof), (old, new)
            assert not merkle.verify_consistency(old, new, bytes(32), roots[new], proof)
            assert not merkle.verify_consistency(old, new, roots[old], roots[new], [*proof, bytes(32)])
            if 0 < old < new:
                assert not merkle.verify_consistency(old, new, roots[old], bytes(32), proof)
                assert not merkle.verify_consistency(old, new, roots[old], roots[new], proof[:-1])
                assert not merkle.verify_consistency(old, new, roots[new], roots[new], proof)


def test_a_frontier_is_taken_up_from_a_stored_tree() -> None:
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves(77)]
    taken = merkle.Frontier.of(50, subtree_of(hashes))
    copy = taken.copy()
    for each in hashes[50:]:
        taken.append(each)
    assert taken.root() == merkle.root_of(hashes)
    assert copy.root() == merkle.root_of(hashes[:50])


def test_what_can_not_be_asked() -> None:
    with pytest.raises(Malformed):
        merkle.inclusion_proof(3, 3, subtree_of([]))
    with pytest.raises(Malformed):
        merkle.consistency_proof(4, 3, subtree_of([]))
    with pytest.raises(ValueError, match="BUG"):
        merkle.perfect_root([bytes(32)] * 3)
    with pytest.raises(ValueError, match="BUG"):
        merkle.Frontier(3, [bytes(32)])
