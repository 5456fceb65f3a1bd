"""The key ring: private, rotated without ending anything, never left unreadable."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable
from jupyter_hpcsec.identity.authority import CLIENT_LIFE_S
from jupyter_hpcsec.identity.keys import KINDS, MARGIN_S, KeyRing, Kind, token_key_id
from tests.identity.ring import DOMAIN, LIFE, NOW, accepts, index, names, open_ring, token

# --- refused ----------------------------------------------------------------------------------------------------------


def test_no_ring_is_refused_where_one_must_be(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        KeyRing.load(tmp_path)
    assert caught.value.rule == "keys.none"
    assert names(tmp_path) == set()


def test_keys_that_others_may_read_are_refused(directory: Path) -> None:
    for path in (directory / "ring.json", next(directory.glob("token-*")), next(directory.glob("authority-*"))):
        path.chmod(0o644)
        for opened in (open_ring, KeyRing.load):
            with pytest.raises(Refused, match="chmod 0600") as caught:
                opened(directory)
            assert caught.value.rule == "keys.mode"
        path.chmod(0o600)
    directory.chmod(0o755)
    for opened in (open_ring, KeyRing.load):
        with pytest.raises(Refused, match="chmod 0700"):
            opened(directory)


@pytest.mark.parametrize("domain", ["other.example.org", "", "HPC", "a/b"])
def test_another_trust_domain_is_refused(directory: Path, domain: str) -> None:
    with pytest.raises(HpcsecError):
        KeyRing.open(directory, now=NOW, trust_domain=domain)
    assert KeyRing.load(directory).trust_domain == DOMAIN


@pytest.mark.parametrize("life", [0, -1, 10**9])
def test_a_token_life_has_bounds(tmp_path: Path, life: int) -> None:
    with pytest.raises(Malformed):
        open_ring(tmp_path / "keys", life=life)
    assert not (tmp_path / "keys").exists()


def test_links_are_refused(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(directory)
    with pytest.raises(Refused):
        open_ring(tmp_path / "link")
    real = directory.rename(tmp_path / "real")
    directory.mkdir(mode=0o700)
    (directory / "ring.json").symlink_to(real / "ring.json")
    for opened in (open_ring, KeyRing.load):
        with pytest.raises(Unavailable):
            opened(directory)


DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "version": lambda i: i.update(version=2),
    "extra name": lambda i: i.update(extra=1),
    "domain": lambda i: i.update(trust_domain="../x"),
    "another domain": lambda i: i.update(trust_domain="other.example.org"),
    "life": lambda i: i.update(token_life_s=True),
    "no keys": lambda i: i.update(keys=[]),
    "keys are no list": lambda i: i.update(keys=7),
    "one key less": lambda i: i["keys"].pop(),
    "a key twice": lambda i: i["keys"].append(i["keys"][0]),
    "unknown kind": lambda i: i["keys"][0].update(kind="root"),
    "a path as id": lambda i: i["keys"][0].update(id="../../etc/passwd"),
    "another id": lambda i: i["keys"][0].update(id="0" * 32),
    "public": lambda i: i["keys"][0].update(public="AAAA"),
    "public is no text": lambda i: i["keys"][0].update(public=7),
    "retired without an end": lambda i: i["keys"][0].update(retired=7),
    "created": lambda i: i["keys"][0].update(created="now"),
    "an end without being retired": lambda i: i["keys"][0].update(expires=7),
    "another public half": lambda i: i["keys"][1].update(public=i["keys"][0]["public"]),
    "a retired key twice": lambda i: i["keys"].append(i["keys"][1]),
    "unknown name in a key": lambda i: i["keys"][0].update(more=1),
    "swapped": lambda i: i["keys"][0].update(public=i["keys"][2]["public"]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_refused_and_left_alone(directory: Path, damage: str) -> None:
    KeyRing.load(directory).rotate("token", NOW)
    content = index(directory)
    assert [(key["kind"], key["retired"]) for key in content["keys"]] == [
        ("token", None),
        ("token", NOW),
        ("authority", None),
    ]
    DAMAGES[damage](content)
    (directory / "ring.json").write_text(json.dumps(content))
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    for opened in (open_ring, KeyRing.load):
        # An id that is well formed but wrong names a file that is not there.
        with pytest.raises(Unavailable if damage == "another id" else Malformed):
            opened(directory)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


@given(st.binary(max_size=99) | st.text(max_size=99).map(str.encode) | st.just(b"[" * 5000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_but_malformed_is_raised_for_any_index(directory: Path, data: bytes) -> None:
    (directory / "ring.json").write_bytes(data)
    with pytest.raises(Malformed):
        KeyRing.load(directory)


@pytest.mark.parametrize("kind", KINDS)
def test_a_private_key_of_another_ring_is_refused(directory: Path, tmp_path: Path, kind: Kind) -> None:
    open_ring(tmp_path / "other")
    theirs, ours = (next(ring.glob(f"{kind}-*")) for ring in (tmp_path / "other", directory))
    for content in (theirs.read_bytes(), b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        ours.write_bytes(content)
        with pytest.raises(Malformed):
            KeyRing.load(directory)
    ours.unlink()
    with pytest.raises(Unavailable):
        KeyRing.load(directory)


def test_an_unknown_kind_is_refused(directory: Path) -> None:
    with pytest.raises(Malformed):
        KeyRing.load(directory).rotate("root", NOW)  # type: ignore[arg-type]


# --- made -------------------------------------------------------------------------------------------------------------


def test_the_first_start_makes_private_keys(directory: Path) -> None:
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    token, authority = KeyRing.load(directory).list(NOW)
    assert (token.kind, token.created, token.retired, token.expires, token.current) == ("token", NOW, None, None, True)
    assert (authority.kind, authority.current) == ("authority", True)
    assert names(directory) == {"ring.json", "lock", f"token-{token.id}.key", f"authority-{authority.id}.key"}


def test_the_second_start_finds_the_same_keys(directory: Path) -> None:
    first, second = KeyRing.load(directory), open_ring(directory, NOW + 9)
    assert first.list(NOW) == second.list(NOW)
    assert first.signing_key()[0] == second.signing_key()[0] == token_key_id(second.signing_key()[1].public_key())
    assert first.authority().certificate_der == second.authority().certificate_der


def test_two_first_starts_make_one_ring(tmp_path: Path) -> None:
    rings: list[KeyRing] = []
    threads = [threading.Thread(target=lambda: rings.append(open_ring(tmp_path / "keys"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(rings) == 4
    assert len({ring.signing_key()[0] for ring in rings}) == len({ring.authority().id for ring in rings}) == 1


def test_no_private_key_is_in_the_index_or_in_a_repr(directory: Path) -> None:
    ring = KeyRing.load(directory)
    _, key = ring.signing_key()
    shown = (directory / "ring.json").read_text() + repr(ring) + repr(ring.list(NOW)) + repr(key)
    for path in directory.glob("*.key"):
        assert path.read_text().splitlines()[1][24:] not in shown
    assert key.private_bytes_raw().hex() not in shown


# --- rotated ----------------------------------------------------------------------------------------------------------


def test_a_retired_token_key_verifies_until_its_last_token_has_expired(directory: Path) -> None:
    ring = KeyRing.load(directory)
    rotated = NOW + 100
    last = token(ring, rotated)
    ring.rotate("token", rotated)
    assert not accepts(ring, last, rotated + LIFE)
    assert accepts(ring, last, rotated + LIFE - 1)
    old = ring.list(rotated)[1]
    assert (old.retired, old.expires, old.current) == (rotated, rotated + LIFE + MARGIN_S, False)
    assert old.id in ring.verification_keys(rotated + LIFE + MARGIN_S - 1)
    assert old.id not in ring.verification_keys(rotated + LIFE + MARGIN_S)
    assert len(ring.list(rotated + LIFE + MARGIN_S)) == 2


def test_a_retired_token_keys_private_half_is_gone(directory: Path) -> None:
    ring = KeyRing.load(directory)
    old = ring.signing_key()[0]
    ring.rotate("token", NOW + 1)
    assert ring.signing_key()[0] != old
    assert f"token-{old}.key" not in names(directory)
    assert old in KeyRing.load(directory).verification_keys(NOW + 1)


def test_dropped_token_keys_accept_nothing_any_more(directory: Path) -> None:
    ring = KeyRing.load(directory)
    first = token(ring, NOW)
    ring.rotate("token", NOW + 1)
    second = token(ring, NOW + 1)
    authorities = [authority.id for authority in ring.authorities(NOW + 2)]
    ring.drop_tokens(NOW + 2)
    for opened in (ring, KeyRing.load(directory)):
        assert not accepts(opened, first, NOW + 2)
        assert not accepts(opened, second, NOW + 2)
        assert accepts(opened, token(ring, NOW + 2), NOW + 2)
        assert len(opened.verification_keys(NOW + 2)) == 1
        assert [authority.id for authority in opened.authorities(NOW + 2)] == authorities
    assert len(list(directory.glob("token-*"))) == 1
    assert len(index(directory)["keys"]) == 2


def test_a_full_ring_can_still_drop(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jupyter_hpcsec.identity.keys.KEYS_LIMIT", 3)
    ring = KeyRing.load(directory)
    ring.rotate("token", NOW)
    with pytest.raises(Refused):
        ring.rotate("token", NOW)
    ring.drop_tokens(NOW)
    assert len(ring.list(NOW)) == 2


def test_a_retired_authority_stays_for_jobs_that_wait_in_the_queue(directory: Path) -> None:
    ring = KeyRing.load(directory)
    old = ring.authority()
    ring.rotate("authority", NOW + 100)
    new = ring.authority()
    # A token of the last second before the rotation, enrolled in its last second, renewed by nobody.
    end = NOW + 100 + LIFE + CLIENT_LIFE_S
    assert [authority.id for authority in ring.authorities(end + MARGIN_S)] == [new.id]
    assert [authority.id for authority in ring.authorities(end)] == [new.id, old.id]
    chain, _ = KeyRing.load(directory).authorities(end)[1].issue_server(end)
    assert chain


def test_what_nothing_needs_is_removed_at_the_next_rotation(directory: Path) -> None:
    ring = KeyRing.load(directory)
    for step in range(4):
        for kind in KINDS:
            ring.rotate(kind, NOW + step * 10 * LIFE)
    kept = ring.list(NOW + 30 * LIFE)
    assert [info.current for info in kept] == [True, False, True, False]
    assert len(list(directory.glob("authority-*"))) == 2
    assert len(list(directory.glob("token-*"))) == 1
    assert len(index(directory)["keys"]) == 4


def test_the_current_key_never_expires_by_itself(directory: Path) -> None:
    ring = KeyRing.load(directory)
    assert ring.signing_key()[0] in ring.verification_keys(NOW + 10**9)


def test_a_longer_token_life_counts_from_the_next_rotation(directory: Path) -> None:
    ring = open_ring(directory, life=2 * LIFE)
    assert KeyRing.load(directory).token_life_s == 2 * LIFE
    ring.rotate("token", NOW)
    assert ring.list(NOW)[1].expires == NOW + 2 * LIFE + MARGIN_S


def test_a_ring_has_a_limit(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jupyter_hpcsec.identity.keys.KEYS_LIMIT", 4)
    ring = KeyRing.load(directory)
    ring.rotate("token", NOW)
    ring.rotate("token", NOW)
    with pytest.raises(Refused) as caught:
        ring.rotate("token", NOW)
    assert caught.value.rule == "keys.limit"
    assert len(KeyRing.load(directory).list(NOW)) == 4


# --- several processes, and crashes -----------------------------------------------------------------------------------


def test_a_running_process_takes_up_a_rotation_by_another(directory: Path) -> None:
    gateway, command = KeyRing.load(directory), KeyRing.load(directory)
    command.rotate("token", NOW + 1)
    text = token(command, NOW + 1)
    assert not accepts(gateway, text, NOW + 1)
    gateway.reload()
    assert accepts(gateway, text, NOW + 1)


def test_two_processes_rotate_and_lose_nothing(directory: Path) -> None:
    one, two = KeyRing.load(directory), KeyRing.load(directory)
    first = token(one, NOW)
    one.rotate("token", NOW + 1)
    second = token(one, NOW + 1)
    two.rotate("token", NOW + 2)
    one.rotate("authority", NOW + 3)
    for ring in (one, KeyRing.load(directory)):
        assert accepts(ring, first, NOW + 4)
        assert accepts(ring, second, NOW + 4)
        assert len(ring.list(NOW + 4)) == 5


def test_a_failed_reload_keeps_what_is_in_memory(directory: Path) -> None:
    ring = KeyRing.load(directory)
    text = token(ring, NOW)
    (directory / "ring.json").write_text("{")
    with pytest.raises(Malformed):
        ring.reload()
    assert accepts(ring, text, NOW)


def test_readers_never_see_half_a_rotation(directory: Path) -> None:
    stop = threading.Event()
    problems: list[BaseException] = []

    def read() -> None:
        try:
            while not stop.is_set():
                ring = KeyRing.load(directory)
                assert ring.signing_key()[0] in ring.verification_keys(NOW)
        except BaseException as error:  # noqa: BLE001 - it is shown by the test
            problems.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    ring = KeyRing.load(directory)
    for step in range(12):
        ring.rotate(KINDS[step % 2], NOW + step * LIFE)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert problems == []
