"""Bundles verify with the standard library alone, and not when anything in them was changed."""

import base64
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_hpcsec.audit import bundle_verifier
from jupyter_hpcsec.audit.export import make_bundle, write_bundle
from jupyter_hpcsec.audit.kinds.record import AuditShredded
from jupyter_hpcsec.audit.notes import Signer
from jupyter_hpcsec.audit.recovery import read_verifier
from jupyter_hpcsec.errors import Malformed, Refused
from tests.audit.records import Place, edit

LEAVES = [0, 5, 255, 256, 299, 301, 303]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("record") / "p")
    place.fill(300, values=4)
    log = place.open()
    log.shred(303, "source", AuditShredded(leaf=303, name="source"))
    log.close()
    return place


def made(place: Place, *, values: bool = True) -> dict[str, bytes]:
    key = read_verifier(place.layout)
    return make_bundle(
        place.layout,
        key,
        LEAVES,
        question="user=alice",
        by="uid 0",
        time="2026-01-01T00:00:00Z",
        with_values=values,
        recorded=True,
    )


@pytest.fixture
def bundle(place: Place, tmp_path: Path) -> Path:
    write_bundle(made(place), tmp_path / "case-7")
    return tmp_path / "case-7"


def run(bundle: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-I", "-S", "verify.py", *arguments], cwd=bundle, capture_output=True, text=True, check=False
    )


def test_a_bundle_verifies_by_itself_with_nothing_but_python(place: Place, bundle: Path) -> None:
    key = str(read_verifier(place.layout))
    answer = run(bundle, "--key", key)
    assert answer.returncode == 0, answer.stderr
    assert f"{len(LEAVES)} events and 2 values" in answer.stdout
    assert "compare it with" in run(bundle).stdout
    assert bundle.stat().st_mode & 0o777 == 0o700


def test_another_key_is_refused(bundle: Path) -> None:
    answer = run(bundle, "--key", str(Signer.make("test.example/audit").verifier))
    assert answer.returncode == 1
    assert "not signed by this key" in answer.stderr


def drop_first(data: bytes) -> bytes:
    return data.split(b"\n", 1)[1]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("events.jsonl", lambda data: data.replace(b"lane.opened", b"lane.0pened", 1)),
        ("events.jsonl", drop_first),
        ("proofs.jsonl", drop_first),
        ("proofs.jsonl", lambda data: data.replace(b'"index":5', b'"index":6')),
        ("proofs.jsonl", lambda data: data.replace(b'["', b'["00', 1)),
        ("checkpoint", lambda data: data.replace(b"\n30", b"\n31", 1)),
        ("values.jsonl", lambda data: data.replace(base64.b64encode(b"print(0)"), base64.b64encode(b"print(1)"))),
        ("manifest.json", lambda data: data.replace(b'"count": 7', b'"count": 8')),
        ("verifier.key", lambda data: data[:-3] + b"AA\n"),
    ],
)
def test_whatever_is_changed_is_found(bundle: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    before = (bundle / name).read_bytes()
    edit(bundle / name, change)
    assert (bundle / name).read_bytes() != before
    answer = run(bundle)
    assert answer.returncode == 1
    assert "DOES NOT HOLD" in answer.stderr


def test_a_pair_dropped_together_is_found_by_the_count(bundle: Path) -> None:
    for name in ("events.jsonl", "proofs.jsonl"):
        edit(bundle / name, drop_first)
    assert run(bundle).returncode == 1


def test_without_values_and_as_a_tar_file(place: Place, tmp_path: Path) -> None:
    write_bundle(made(place, values=False), tmp_path / "case-8.tar")
    subprocess.run(["tar", "-xf", "case-8.tar"], cwd=tmp_path, check=True)
    assert not (tmp_path / "case-8" / "values.jsonl").exists()
    assert run(tmp_path / "case-8").returncode == 0


def test_an_export_replaces_nothing(place: Place, bundle: Path) -> None:
    with pytest.raises(Refused, match="replaces nothing"):
        write_bundle(made(place), bundle)


def test_events_that_do_not_hold_are_not_exported(place: Place, tmp_path: Path) -> None:
    broken = place.copy(tmp_path / "p")
    edit(broken.layout.bundle(0), lambda data: data.replace(b"lane.opened", b"lane.0pened"))
    with pytest.raises(Malformed, match="not the one that was signed"):
        made(broken)


# RFC 8032, section 7.1, tests 1 to 3: key, message, signature.
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_signatures_of_the_rfc(key: str, message: str, signature: str) -> None:
    arguments = bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature)
    assert bundle_verifier.verify_signature(*arguments)
    for position in (0, 40, 63):
        wrong = bytearray(arguments[2])
        wrong[position] ^= 1
        assert not bundle_verifier.verify_signature(arguments[0], arguments[1], bytes(wrong))
    assert not bundle_verifier.verify_signature(arguments[0], arguments[1] + b"x", arguments[2])
    assert not bundle_verifier.verify_signature(arguments[0], arguments[1], arguments[2] + b"\x00")


def test_scalars_out_of_range_are_refused() -> None:
    key, message, signature = (bytes.fromhex(each) for each in VECTORS[0])
    number = int.from_bytes(signature[32:], "little") + bundle_verifier.ORDER
    assert not bundle_verifier.verify_signature(key, message, signature[:32] + number.to_bytes(32, "little"))
