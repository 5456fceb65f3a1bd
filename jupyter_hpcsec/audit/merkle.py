"""The Merkle tree of RFC 6962: hashes, roots, proofs and their verification. Pure.

Leaves are bytes; what they mean is not known here. Sizes and indices count leaves. Verification follows the iterative
forms of RFC 9162, section 2.1.3.2 and 2.1.4.2, which accept exactly the proofs of RFC 6962.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence

from jupyter_hpcsec.errors import Malformed

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves (RFC 6962, section 2.1)."""

PROOF_LIMIT = 64
"""Hashes: a proof in a tree of 2**63 leaves has no more."""

Subtree = Callable[[int, int], bytes]
"""``subtree(level, index)``: the hash over leaves ``[index << level, (index + 1) << level)``, all of which exist."""


def leaf_hash(leaf: bytes) -> bytes:
    """RFC 6962, section 2.1: SHA-256(0x00 || leaf)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962, section 2.1: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The perfect subtrees that a tree of some size is made of: all that an append needs, O(log size)."""

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self._peaks = list(peaks)  # largest subtree first, one for each 1 bit of the size
        if len(self._peaks) != size.bit_count():
            raise ValueError("BUG: a frontier has one peak for each 1 bit of its size")

    @classmethod
    def of(cls, size: int, subtree: Subtree) -> "Frontier":
        """The frontier of a stored tree."""
        return cls(size, [subtree(level, index) for level, index in _peaks(size)])

    def append(self, leaf: bytes) -> None:
        """Add one leaf by its hash."""
        rest = self.size
        while rest & 1:
            leaf = node_hash(self._peaks.pop(), leaf)
            rest >>= 1
        self._peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The tree's root."""
        if not self._peaks:
            return EMPTY_ROOT
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root

    def joined(self, tail: "Frontier", width: int) -> "Frontier":
        """The tree of which this one's leaves are the hashes of ``width`` leaves each, followed by ``tail``'s."""
        return Frontier(self.size * width + tail.size, [*self._peaks, *tail._peaks])

    def copy(self) -> "Frontier":
        """One that can be appended to without changing this one."""
        return Frontier(self.size, self._peaks)


def root_of(hashes: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    frontier = Frontier()
    for each in hashes:
        frontier.append(each)
    return frontier.root()


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """The root over leaf hashes whose number is a power of two."""
    row = list(hashes)
    if not row or len(row) & (len(row) - 1):
        raise ValueError("BUG: not a perfect tree")
    while len(row) > 1:
        row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
    return row[0]


def _peaks(size: int, start: int = 0) -> list[tuple[int, int]]:
    """(level, index) of the perfect subtrees of ``[start, start + size)``, largest first; start fits the first."""
    found = []
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            found.append((level, start >> level))
            start += 1 << level
    return found


def _range_root(start: int, end: int, subtree: Subtree) -> bytes:
    """MTH(D[start:end]) for a range that some node of the tree covers."""
    return Frontier(end - start, [subtree(level, index) for level, index in _peaks(end - start, start)]).root()


def _split(size: int) -> int:
    """The largest power of two below ``size``."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """PATH(index, D[size]) of RFC 6962, section 2.1.1."""
    if not 0 <= index < size:
        raise Malformed(f"there is no event {index} in a tree of {size}")
    proof = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(_range_root(middle, end, subtree))
            end = middle
        else:
            proof.append(_range_root(start, middle, subtree))
            start = middle
    return proof[::-1]


def consistency_proof(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """PROOF(old, D[new]) of RFC 6962, section 2.1.2; empty where one of the trees is empty or both are the same."""
    if not 0 <= old <= new:
        raise Malformed(f"a tree of {old} is not older than one of {new}")
    if old in (0, new):
        return []
    proof = []
    start, end, whole = 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(_range_root(middle, end, subtree))
            end = middle
        else:
            proof.append(_range_root(start, middle, subtree))
            start, whole = middle, False
    if not whole:
        proof.append(_range_root(start, end, subtree))
    return proof[::-1]


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that a proof of inclusion leads to; the caller compares it. ``Malformed`` for a wrong length."""
    if not 0 <= index < size or len(proof) > PROOF_LIMIT:
        raise Malformed("a proof of inclusion with an index outside its tree, or too long")
    node, last, root = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise Malformed("a proof of inclusion is too long for its tree")
        if node & 1 or node == last:
            root = node_hash(sibling, root)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise Malformed("a proof of inclusion is too short for its tree")
    return root


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether ``leaf`` (a leaf hash) is leaf ``index`` of the tree of ``size`` leaves with this root."""
    try:
        return root_from_inclusion(leaf, index, size, proof) == root
    except Malformed:
        return False


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the tree of ``new`` leaves begins with the one of ``old`` leaves. An empty tree begins every tree."""
    if not 0 <= old <= new or len(proof) > PROOF_LIMIT:
        return False
    if old in (0, new):
        same = old_root == (EMPTY_ROOT if old == 0 else new_root)
        return not proof and same and (new > 0 or new_root == EMPTY_ROOT)
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        return False
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root
