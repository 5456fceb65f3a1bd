"""MUNGE's answers are read strictly, a credential binds one session and one key. With a real munged."""

import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.identity.munge import (
    AGE_LIMIT_S,
    CREDENTIAL_LIMIT,
    SKEW_S,
    MungeFacts,
    check_munge,
    munge_decode,
    munge_encode,
    munge_payload,
    parse_unmunge,
)

NOW = 1_800_000_000
SID, SPKI = "5e55" * 8, b"\x01" * 32
NODE1 = ip_address("10.77.0.11")
GOOD = MungeFacts(1001, 1001, "10.77.0.11", munge_payload(SID, SPKI), NOW)

has_munge = pytest.mark.skipif(
    not all(shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in ("munged", "munge", "unmunge")),
    reason="the munge package is not installed",
)


def refusal(facts: MungeFacts, *, hosts: frozenset[object] | None = frozenset({NODE1})) -> str:
    with pytest.raises(Refused) as caught:
        check_munge(facts, uid=1001, spki=SPKI, session=SID, hosts=hosts, now=NOW)  # type: ignore[arg-type]
    return caught.value.rule.removeprefix("attest.munge-")


# --- what a credential says -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uid", [0, 1002])
def test_another_users_credential_is_refused(uid: int) -> None:
    assert refusal(replace(GOOD, uid=uid)) == "other-user"


@pytest.mark.parametrize(
    "payload",
    [
        munge_payload(SID, b"\x02" * 32),
        munge_payload("a" * 32, SPKI),
        b"",
        munge_payload(SID, SPKI) + b"\n",
        munge_payload(SID, SPKI)[:-1],
        munge_payload(SID, SPKI) + munge_payload("a" * 32, SPKI),
        munge_payload(SID, SPKI).upper(),
    ],
    ids=["another key", "another session", "empty", "longer", "shorter", "twice", "upper case"],
)
def test_a_credential_for_anything_else_is_refused(payload: bytes) -> None:
    assert refusal(replace(GOOD, payload=payload)) == "binding"


def test_an_old_or_early_credential_is_refused() -> None:
    assert refusal(replace(GOOD, encode_time=NOW - AGE_LIMIT_S - 1)) == "expired"
    assert refusal(replace(GOOD, encode_time=NOW + SKEW_S + 1)) == "rewound"


@pytest.mark.parametrize("host", ["10.77.0.12", "127.0.0.1", "10.77.0.1", "::1"])
def test_a_credential_from_another_node_is_refused(host: str) -> None:
    assert refusal(replace(GOOD, host=host)) == "other-node"
    assert refusal(GOOD, hosts=frozenset()) == "other-node"


def test_the_users_credential_from_the_node_for_this_key_passes() -> None:
    for moment in (NOW, NOW - AGE_LIMIT_S, NOW + SKEW_S):
        facts = replace(GOOD, encode_time=moment)
        check_munge(facts, uid=1001, spki=SPKI, session=SID, hosts=frozenset({NODE1}), now=NOW)
    check_munge(replace(GOOD, host="10.9.9.9"), uid=1001, spki=SPKI, session=SID, hosts=None, now=NOW)


@pytest.mark.parametrize(
    ("session", "spki"), [("", SPKI), (SID.upper(), SPKI), (SID, b""), (SID, b"x" * 33), ("a\nb", SPKI)]
)
def test_a_payload_has_one_form(session: str, spki: bytes) -> None:
    with pytest.raises(Malformed):
        munge_payload(session, spki)


# --- what unmunge prints ----------------------------------------------------------------------------------------------

PRINTED = (
    b"STATUS:          0\nENCODE_HOST:     10.77.0.11\nENCODE_TIME:     1795239611\nDECODE_TIME:     1795239613\n"
    b"TTL:             120\nCIPHER:          4\nMAC:             5\nZIP:             0\nUID:             1001\n"
    b"GID:             1001\nLENGTH:          5\n\nhello"
)


@pytest.mark.parametrize(
    "output",
    [
        b"",
        PRINTED[:-6],
        PRINTED.replace(b"\n\n", b"\n"),
        PRINTED.replace(b"STATUS:          0", b"STATUS:          17"),
        PRINTED.replace(b"STATUS:          0\n", b""),
        PRINTED.replace(b"UID:             1001\n", b"", 1),
        PRINTED.replace(b"UID:             1001\n", b"UID:             1001\nUID:             0\n", 1),
        PRINTED.replace(b"UID:             1001", b"UID:             alice (1001)"),
        PRINTED.replace(b"UID:             1001", b"UID:             -1"),
        PRINTED.replace(b"UID:             1001", b"UID:             01001"),
        PRINTED.replace(b"UID:             1001", b"UID:             "),
        PRINTED.replace(b"LENGTH:          5", b"LENGTH:          4"),
        PRINTED.replace(b"LENGTH:", b"LENGTX:"),
        PRINTED.replace(b"10.77.0.11", b"node1 (10.77.0.11)"),
        PRINTED.replace(b"10.77.0.11", b"\xff"),
        b"EVIL:            1\n" + PRINTED,
        b"A" * 5000 + PRINTED,
    ],
)
def test_any_other_output_is_malformed(output: bytes) -> None:
    with pytest.raises(Malformed):
        parse_unmunge(output)


def test_the_payload_can_not_speak_as_metadata() -> None:
    evil = b"x\n\nUID:             0\n\n"
    said = PRINTED.replace(b"LENGTH:          5\n\nhello", b"LENGTH:          %d\n\n%b" % (len(evil), evil))
    facts = parse_unmunge(said)
    assert (facts.uid, facts.payload) == (1001, evil)


def test_the_output_is_read() -> None:
    assert parse_unmunge(PRINTED) == MungeFacts(1001, 1001, "10.77.0.11", b"hello", 1795239611)
    restricted = PRINTED.replace(b"LENGTH", b"UID_RESTRICTION: 0\nLENGTH")
    assert parse_unmunge(restricted) == parse_unmunge(PRINTED)


@given(st.binary(max_size=200) | st.binary(max_size=99).map(lambda data: PRINTED[:150] + data + PRINTED[150:]))
def test_nothing_but_malformed_is_raised(output: bytes) -> None:
    try:
        assert parse_unmunge(output).uid == 1001
    except Malformed:
        return


# --- the commands -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "credential",
    [
        "",
        "MUNGE:",
        "MUNGE::",
        "munge:AAAA:",
        "MUNGE:AAAA",
        "MUNGE:AA AA:",
        "MUNGE:AAAA:\n",
        "--help",
        "MUNGE:A:B:",
        "MUNGE:ä:",
        "MUNGE:" + "A" * CREDENTIAL_LIMIT + ":",
    ],
)
async def test_what_is_no_credential_reaches_no_command(tmp_path: Path, credential: str) -> None:
    with pytest.raises(Refused) as caught:
        await munge_decode(credential, command=(stand_in(tmp_path, f"touch {tmp_path}/called"),))
    assert caught.value.rule == "attest.munge-form"
    assert not (tmp_path / "called").exists()


def stand_in(directory: Path, script: str) -> str:
    path = directory / "command"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("script", ["exit 1", "echo 'Socket communication error' >&2; exit 6", "kill -9 $$", "exit 19"])
async def test_an_unmunge_that_does_not_work_is_unavailable(tmp_path: Path, script: str) -> None:
    with pytest.raises(Unavailable):
        await munge_decode("MUNGE:AAAA:", command=(stand_in(tmp_path, script),))


@pytest.mark.parametrize("script", ["exit 1", "exit 0", "echo no", "echo MUNGE:AAAA:; exit 1", "sleep 99"])
def test_a_munge_that_does_not_work_is_unavailable(tmp_path: Path, script: str) -> None:
    with pytest.raises(Unavailable):
        munge_encode(b"x", command=(stand_in(tmp_path, script),), timeout_s=0.5)
    with pytest.raises(Unavailable):
        munge_encode(b"x", command=(str(tmp_path / "missing"),))


class Realm:
    """A real munged with a key of its own."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "socket"
        key = directory / "key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        files = [f"--{name}-file={directory / name}" for name in ("log", "pid", "seed")]
        command = ["munged", "--foreground", "--force", f"--socket={self.socket}", f"--key-file={key}", *files]
        path = f"{os.environ['PATH']}:/usr/sbin"
        self._process = subprocess.Popen(command, env={"PATH": path}, stderr=subprocess.DEVNULL)
        self.munge = ("munge", f"--socket={self.socket}")
        self.unmunge = ("unmunge", f"--socket={self.socket}")
        for _ in range(200):
            if self._answers():
                return
            time.sleep(0.05)
        self.stop()
        pytest.fail("munged did not start")

    def _answers(self) -> bool:
        return subprocess.run([*self.munge, "--no-input"], capture_output=True, check=False).returncode == 0

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=60)

    def careless_decode(self, credential: str) -> bytes:
        """What unmunge prints, its exit status not looked at."""
        command = [*self.unmunge, "--numeric"]
        return subprocess.run(command, input=credential.encode(), capture_output=True, check=False).stdout

    def old_credential(self) -> str:
        """A credential whose life is over, by munged's own clock; nobody has looked at it yet."""
        command = [*self.munge, "--no-input", "--ttl=1"]
        unseen, probe = (subprocess.run(command, capture_output=True, check=True).stdout.decode() for _ in range(2))
        for _ in range(100):
            if b"STATUS:          15" in self.careless_decode(probe):
                return unseen.strip()
            time.sleep(0.1)
        pytest.fail("munged lets no credential expire")


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    directory = tmp_path_factory.mktemp("munge")
    directory.chmod(0o755)
    found = Realm(directory)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def other_realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    directory = tmp_path_factory.mktemp("other")
    directory.chmod(0o755)
    found = Realm(directory)
    yield found
    found.stop()


async def test_a_credential_that_is_no_good_is_refused_even_without_metadata(tmp_path: Path) -> None:
    for status in range(8, 19):
        with pytest.raises(Refused):
            await munge_decode("MUNGE:AAAA:", command=(stand_in(tmp_path, f"exit {status}"),))


@has_munge
async def test_a_real_credential_of_another_realm_is_refused(realm: Realm, other_realm: Realm) -> None:
    with pytest.raises(Refused) as caught:
        await munge_decode(munge_encode(b"x", command=other_realm.munge), command=realm.unmunge)
    assert caught.value.rule == "attest.munge-invalid"


@has_munge
async def test_a_real_credential_works_once(realm: Realm) -> None:
    credential = munge_encode(munge_payload(SID, SPKI), command=realm.munge)
    await munge_decode(credential, command=realm.unmunge)
    with pytest.raises(Refused) as caught:
        await munge_decode(credential, command=realm.unmunge)
    assert caught.value.rule == "attest.munge-replayed"
    # What a careless reader sees: uid and payload are printed all the same.
    output = realm.careless_decode(credential)
    assert re.search(rb"^UID: +%d$" % os.geteuid(), output, re.MULTILINE)
    assert output.endswith(munge_payload(SID, SPKI))


@has_munge
async def test_a_real_altered_credential_is_refused(realm: Realm) -> None:
    credential = munge_encode(b"x", command=realm.munge)
    middle = len(credential) // 2
    altered = credential[:middle] + ("A" if credential[middle] != "A" else "B") + credential[middle + 1 :]
    with pytest.raises(Refused):
        await munge_decode(altered, command=realm.unmunge)


@has_munge
async def test_a_real_expired_credential_is_refused(realm: Realm) -> None:
    with pytest.raises(Refused) as caught:
        await munge_decode(realm.old_credential(), command=realm.unmunge)
    assert caught.value.rule == "attest.munge-expired"


@has_munge
async def test_no_daemon_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await munge_decode("MUNGE:AAAA:", command=("unmunge", f"--socket={tmp_path}/none"))
    with pytest.raises(Unavailable):
        munge_encode(b"x", command=("munge", f"--socket={tmp_path}/none"))


@has_munge
async def test_a_real_credential_says_who_wrote_it(realm: Realm) -> None:
    before = int(time.time())
    facts = await munge_decode(munge_encode(munge_payload(SID, SPKI), command=realm.munge), command=realm.unmunge)
    assert (facts.uid, facts.gid, facts.payload) == (os.geteuid(), os.getegid(), munge_payload(SID, SPKI))
    assert facts.encode_time >= before
    here = frozenset({ip_address(facts.host)})
    check_munge(facts, uid=os.geteuid(), spki=SPKI, session=SID, hosts=here, now=facts.encode_time)
    with pytest.raises(Refused):
        check_munge(facts, uid=os.geteuid() + 1, spki=SPKI, session=SID, hosts=here, now=facts.encode_time)
