#!/usr/bin/env python3
"""Verifies a bundle of exported audit events, offline, with nothing but Python's standard library.

    python3 verify.py [--key NAME+ID+KEY]

Run it in the bundle's directory, with ``python3 -I`` if you do not trust what else is there. Give the log's public key
as you got it by another way; without it the key in the bundle is used, which proves that nothing was changed since the
export, but not by whom the events were signed. What holds then: each event is the one at its index in the log that the
checkpoint names. What can't be seen from a bundle: whether other events would have answered the same question.

Formats: c2sp.org/signed-note, c2sp.org/tlog-checkpoint, RFC 6962, RFC 8032. Part of jupyter_hpcsec (BSD-3-Clause).
"""

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path

# -- Ed25519 verification, after RFC 8032, section 6 ----------------------------------------------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)

Point = tuple[int, int, int, int]


def add(a: Point, b: Point) -> Point:
    """Add two points in extended coordinates."""
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    i, j, k, m = f - e, h - g, h + g, f + e
    return (i * j % P, k * m % P, j * k % P, i * m % P)


def multiply(number: int, point: Point) -> Point:
    """Multiply a point."""
    result: Point = (0, 1, 1, 0)
    while number:
        if number & 1:
            result = add(result, point)
        point = add(point, point)
        number >>= 1
    return result


def is_same(a: Point, b: Point) -> bool:
    """Compare two points."""
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


def decompress(data: bytes) -> "Point | None":
    """The point that 32 bytes stand for."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return (x, y, 1, x * y % P)


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def verify_signature(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` (64 bytes) is that of ``message`` by ``public`` (32 bytes)."""
    key, point = decompress(public), decompress(signature[:32])
    number = int.from_bytes(signature[32:], "little")
    if len(public) != 32 or len(signature) != 64 or key is None or point is None or BASE is None or number >= ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    return is_same(multiply(number, BASE), add(point, multiply(challenge, key)))


# -- the log --------------------------------------------------------------------------------------------------------


class Wrong(Exception):
    """Something does not hold."""


def open_checkpoint(note: bytes, key_text: str) -> "tuple[str, int, bytes]":
    """Origin, size and root of a checkpoint that the key signed."""
    name, key_id, encoded = key_text.split("+", 2)
    key = base64.b64decode(encoded, validate=True)
    expected = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
    if len(key) != 33 or key[:1] != b"\x01" or expected.hex() != key_id:
        raise Wrong("the public key is not in its form")
    text, _, tail = note.rpartition(b"\n\n")
    text += b"\n"
    for line in tail.decode().splitlines():
        dash, signer, signature = line.split(" ", 2)
        data = base64.b64decode(signature, validate=True)
        if dash == "\N{EM DASH}" and signer == name and data[:4] == expected:
            if not verify_signature(key[1:], text, data[4:]):
                raise Wrong("the checkpoint's signature does not hold")
            origin, size, root = text.decode().split("\n")[:3]
            return origin, int(size), base64.b64decode(root, validate=True)
    raise Wrong("the checkpoint is not signed by this key")


def root_of(leaf: bytes, index: int, size: int, proof: "list[bytes]") -> bytes:
    """The root that a proof of inclusion leads to (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        raise Wrong("an index outside the log")
    node, last, root = index, size - 1, hashlib.sha256(b"\x00" + leaf).digest()
    for sibling in proof:
        if last == 0:
            raise Wrong("a proof is too long")
        if node & 1 or node == last:
            root = hashlib.sha256(b"\x01" + sibling + root).digest()
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            root = hashlib.sha256(b"\x01" + root + sibling).digest()
        node, last = node >> 1, last >> 1
    if last:
        raise Wrong("a proof is too short")
    return root


def check_values(directory: Path, sealed: "dict[tuple[int, str], str]") -> int:
    """Compare the values that came with the bundle with the commitments in the events."""
    path = directory / "values.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    for line in lines:
        kept = json.loads(line)
        if "shredded" in kept:
            continue
        data = bytes.fromhex(kept["salt"]) + kept["name"].encode() + b"\x00" + base64.b64decode(kept["value"])
        if hashlib.sha256(b"hpcsec-audit-value-v1\x00" + data).hexdigest() != sealed.get((kept["leaf"], kept["name"])):
            raise Wrong(f"the value {kept['name']} of event {kept['leaf']} is not the one that was recorded")
    return len(lines)


def verify(directory: Path, key: str = "") -> str:
    """Verify the bundle in ``directory``; a sentence of what holds. ``Wrong`` otherwise."""
    manifest = json.loads((directory / "manifest.json").read_bytes())
    key_text = key or (directory / "verifier.key").read_text().strip()
    origin, size, root = open_checkpoint((directory / "checkpoint").read_bytes(), key_text)
    events = (directory / "events.jsonl").read_bytes().split(b"\n")[:-1]
    proofs = (directory / "proofs.jsonl").read_bytes().split(b"\n")[:-1]
    if not len(events) == len(proofs) == manifest["count"]:
        raise Wrong(f"there are {len(events)} events and {len(proofs)} proofs, not {manifest['count']}")
    sealed: dict[tuple[int, str], str] = {}
    before = -1
    for number, (leaf, line) in enumerate(zip(events, proofs), 1):  # noqa: B905 - older Pythons run this too
        proof = json.loads(line)
        index = proof["index"]
        if index <= before:
            raise Wrong(f"line {number}: events are not in their order, or one stands twice")
        before = index
        if root_of(leaf, index, size, [bytes.fromhex(each) for each in proof["proof"]]) != root:
            raise Wrong(f"line {number}: event {index} is not the one that was recorded")
        for name, commitment in json.loads(leaf).get("sealed", {}).items():
            sealed[index, name] = commitment
    values = check_values(directory, sealed)
    said = (
        f"{len(events)} events and {values} values are those of the log {origin} at {size} events, signed by {key_text}"
    )
    return said if key else said + "\nThe key came with the bundle: compare it with what you got by another way."


def main() -> int:
    """0 when the bundle holds, 1 when it does not."""
    parser = argparse.ArgumentParser(description="Verify a bundle of exported audit events.")
    parser.add_argument("directory", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--key", default="", help="the log's public key, as you got it by another way")
    arguments = parser.parse_args()
    try:
        print(verify(arguments.directory, arguments.key))
    except (Wrong, OSError, ValueError, KeyError, TypeError) as error:
        print(f"DOES NOT HOLD: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
