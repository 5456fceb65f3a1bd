"""The gateway's keys on disk: token keys and certificate authorities, one of each current, old ones while needed.

A directory (0700) holds ``ring.json``, which lists every key with its public half, and one 0600 file for each
private key still needed. ``ring.json`` is replaced atomically and only after the files that it names are durable: a
crash at any point leaves a ring that opens. Writers exclude each other by a lock; a process that only reads sees
changes at its next :meth:`KeyRing.reload`. Private keys leave this module as key objects only.

How long an old key is kept:

* a token key: as long as a token may live, ``token_life_s``. Its private half is deleted at once: it signs no more. One
  that leaked is not kept at all: :meth:`KeyRing.drop_tokens`.
* an authority: a job that has waited in the queue since before the rotation knows only the old one, so that it stays
  until the last token made beside it has expired, the certificate enrolled with that token has too, and ``MARGIN_S``.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from jupyter_hpcsec.errors import Malformed, Refused
from jupyter_hpcsec.identity import files
from jupyter_hpcsec.identity.authority import CLIENT_LIFE_S, Authority
from jupyter_hpcsec.identity.subject import check_trust_domain
from jupyter_hpcsec.identity.tokens import LIFE_LIMIT_S

Kind = Literal["token", "authority"]
KINDS: tuple[Kind, ...] = ("token", "authority")

MARGIN_S = 600
"""Seconds that a retired key is kept beyond its arithmetic, for clocks that are stepped."""
DEFAULT_TOKEN_LIFE_S = 7 * 24 * 3600
INDEX = "ring.json"
INDEX_LIMIT = 1 << 20
KEY_LIMIT = 4096
KEYS_LIMIT = 256
"""Keys of a ring, retired ones included: more than a rotation a day, at the longest token life."""

_VERSION = 1
_OURS = re.compile(r"(token|authority)-[0-9a-f]{32,64}\.key|ring\.json\.[0-9a-f]{16}\.new")


@dataclass(frozen=True)
class KeyInfo:
    """What may be shown of a key. Times: Unix seconds.

    ``retired`` is None for a current key; ``expires`` is when the key is dropped, for a current authority the end of
    its certificate, for a current token key None.
    """

    kind: Kind
    id: str
    created: int
    retired: int | None
    expires: int | None
    current: bool


@dataclass(frozen=True)
class _Entry:
    """One line of the index. ``public``: base64 of the raw Ed25519 key, or of the authority certificate's DER."""

    kind: Kind
    id: str
    created: int
    retired: int | None
    expires: int | None
    public: str

    @property
    def file(self) -> str:
        return f"{self.kind}-{self.id}.key"

    @property
    def has_private(self) -> bool:
        return self.kind == "authority" or self.retired is None

    def is_needed(self, now: int) -> bool:
        return self.expires is None or now < self.expires


@dataclass(frozen=True)
class _Ring:
    """One consistent state of the directory, whole and immutable: readers in other threads see old or new."""

    trust_domain: str
    token_life_s: int
    entries: tuple[_Entry, ...]
    signing: Ed25519PrivateKey
    verifying: Mapping[str, Ed25519PublicKey]
    authorities: Mapping[str, Authority]

    def current(self, kind: Kind) -> _Entry:
        return next(entry for entry in self.entries if entry.kind == kind and entry.retired is None)


class KeyRing:
    """The keys of one deployment. :meth:`open` for the gateway, :meth:`load` for a directory that must exist."""

    def __init__(self, directory: Path, ring: _Ring) -> None:
        self._directory = directory
        self._ring = ring

    @classmethod
    def open(cls, directory: Path, *, now: int, trust_domain: str, token_life_s: int = DEFAULT_TOKEN_LIFE_S) -> Self:
        """Open the ring in ``directory``, creating directory and keys on the first start.

        ``token_life_s`` is the longest life of any token that will be minted. Raises :class:`Refused` where owner,
        modes or trust domain are wrong (with the fix), :class:`Malformed` where the ring is damaged,
        :class:`Unavailable` for errors of the file system.
        """
        check_trust_domain(trust_domain)
        if not 0 < token_life_s <= LIFE_LIMIT_S:
            raise Malformed(f"a token's life is 1 to {LIFE_LIMIT_S} seconds")
        files.make_directory(directory)
        with files.locked(directory, exclusive=True):
            if not _exists(directory / INDEX):
                _create(directory, trust_domain, token_life_s, now)
            ring = _read(directory)
            if ring.trust_domain != trust_domain:
                raise Refused(
                    "keys.trust-domain",
                    f"the keys in {directory} are of trust domain {ring.trust_domain}, not {trust_domain};"
                    " a deployment that changes its name needs a new directory",
                )
            if ring.token_life_s != token_life_s:
                _write(directory, ring.entries, trust_domain, token_life_s, now)
                ring = _read(directory)
        return cls(directory, ring)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Open a ring that exists; :class:`Refused` where there is none. Errors as in :meth:`open`."""
        if not _exists(directory / INDEX):
            raise Refused("keys.none", f"there are no keys in {directory}; the gateway makes them on its first start")
        return cls(directory, _locked_read(directory))

    @property
    def trust_domain(self) -> str:
        """The deployment's name, as in every certificate's URI."""
        return self._ring.trust_domain

    @property
    def token_life_s(self) -> int:
        """The longest life of a token: what is minted for longer dies with a rotation."""
        return self._ring.token_life_s

    def reload(self) -> None:
        """Read the directory again. Where that fails the error is raised and the keys in memory stay as they are."""
        self._ring = _locked_read(self._directory)

    def rotate(self, kind: Kind, now: int) -> None:
        """Make a new current key of ``kind``; the old one goes on being accepted until nothing needs it any more."""
        if kind not in KINDS:
            raise Malformed(f"keys are of kind {' or '.join(KINDS)}")
        files.check_directory(self._directory)
        with files.locked(self._directory, exclusive=True):
            # From the directory, not from memory: another process may have rotated since.
            ring = _read(self._directory)
            old = ring.current(kind)
            kept_s = ring.token_life_s + MARGIN_S + (CLIENT_LIFE_S if kind == "authority" else 0)
            retired = replace(old, retired=now, expires=now + kept_s)
            others = [entry for entry in ring.entries if entry is not old and entry.is_needed(now)]
            if len(others) + 2 > KEYS_LIMIT:
                raise Refused("keys.limit", f"{KEYS_LIMIT} keys are kept already; rotate less often")
            self._replace(ring, kind, (retired, *others), now)

    def drop_tokens(self, now: int) -> None:
        """Make a new token key and drop all others: no token that was signed before this is accepted any more."""
        files.check_directory(self._directory)
        with files.locked(self._directory, exclusive=True):
            ring = _read(self._directory)
            self._replace(ring, "token", tuple(entry for entry in ring.entries if entry.kind != "token"), now)

    def _replace(self, ring: _Ring, kind: Kind, kept: tuple[_Entry, ...], now: int) -> None:
        """Write a new current key of ``kind`` beside what is ``kept``; the caller holds the lock."""
        fresh = _make(self._directory, kind, ring.trust_domain, now)
        _write(self._directory, (fresh, *kept), ring.trust_domain, ring.token_life_s, now)
        self._ring = _read(self._directory)

    def list(self, now: int) -> list[KeyInfo]:
        """Return every key that is still accepted, by kind, the current one first, then the latest first."""
        found = []
        for kind in KINDS:
            entries = sorted(
                (entry for entry in self._ring.entries if entry.kind == kind and entry.is_needed(now)),
                key=lambda entry: (entry.retired is not None, -entry.created),
            )
            found += [self._info(entry) for entry in entries]
        return found

    def _info(self, entry: _Entry) -> KeyInfo:
        expires = entry.expires
        if expires is None and entry.kind == "authority":
            expires = self._ring.authorities[entry.id].not_after
        return KeyInfo(entry.kind, entry.id, entry.created, entry.retired, expires, entry.retired is None)

    def signing_key(self) -> tuple[str, Ed25519PrivateKey]:
        """Return id and key for new tokens."""
        return self._ring.current("token").id, self._ring.signing

    def verification_keys(self, now: int) -> Mapping[str, Ed25519PublicKey]:
        """Return the keys whose tokens are accepted now, by id."""
        ring = self._ring
        needed = {entry.id for entry in ring.entries if entry.kind == "token" and entry.is_needed(now)}
        return MappingProxyType({key_id: key for key_id, key in ring.verifying.items() if key_id in needed})

    def authority(self) -> Authority:
        """Return the authority that issues."""
        return self._ring.authorities[self._ring.current("authority").id]

    def authorities(self, now: int) -> tuple[Authority, ...]:
        """Return the authorities whose certificates are accepted and whose names are ours, the current one first."""
        return tuple(self._ring.authorities[info.id] for info in self.list(now) if info.kind == "authority")


def token_key_id(key: Ed25519PublicKey) -> str:
    """Return a token key's canonical id: the first 32 hex digits of the SHA-256 of its 32 bytes (RFC 8032)."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:32]


def _exists(path: Path) -> bool:
    # lexists: a link in this place must be met by read(), which refuses it, not be taken for an empty directory.
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Refused("keys.directory", f"{path.parent} can't be looked into: {error.strerror}") from error
    return True


def _create(directory: Path, trust_domain: str, token_life_s: int, now: int) -> None:
    entries = tuple(_make(directory, kind, trust_domain, now) for kind in KINDS)
    _write(directory, entries, trust_domain, token_life_s, now)


def _make(directory: Path, kind: Kind, trust_domain: str, now: int) -> _Entry:
    """Make a key and write its private half: a stray file, which the next write removes, until the index names it."""
    if kind == "token":
        key = Ed25519PrivateKey.generate()
        public = key.public_key()
        entry = _Entry(kind, token_key_id(public), now, None, None, _to_base64(public.public_bytes_raw()))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    else:
        authority = Authority.create(trust_domain, now)
        entry = _Entry(kind, authority.id, now, None, None, _to_base64(authority.certificate_der))
        private = authority.key_pem
    files.write_new(directory / entry.file, private)
    return entry


def _write(directory: Path, entries: tuple[_Entry, ...], trust_domain: str, token_life_s: int, now: int) -> None:
    """Replace the index, then remove the files that it does not name."""
    kept = [entry for entry in entries if entry.is_needed(now)]
    index = {
        "version": _VERSION,
        "trust_domain": trust_domain,
        "token_life_s": token_life_s,
        "keys": [asdict(entry) for entry in kept],
    }
    files.replace(directory / INDEX, json.dumps(index, indent=1).encode() + b"\n")
    files.sweep(directory, _OURS, {entry.file for entry in kept if entry.has_private})


def _locked_read(directory: Path) -> _Ring:
    files.check_directory(directory)
    with files.locked(directory, exclusive=False):
        return _read(directory)


def _read(directory: Path) -> _Ring:
    data = files.read(directory / INDEX, INDEX_LIMIT)
    try:
        trust_domain, token_life_s, entries = _parse_index(json.loads(data))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Malformed(
            f"{directory / INDEX} is damaged; restore it, or move the directory away for new keys"
        ) from error
    privates = {e.id: files.read(directory / e.file, KEY_LIMIT) for e in entries if e.has_private}
    signing: Ed25519PrivateKey | None = None
    verifying: dict[str, Ed25519PublicKey] = {}
    authorities: dict[str, Authority] = {}
    for entry in entries:
        try:
            public = base64.b64decode(entry.public, validate=True)
            if entry.kind == "authority":
                authorities[entry.id] = _authority(entry, public, privates[entry.id], trust_domain)
                continue
            verifying[entry.id] = Ed25519PublicKey.from_public_bytes(public)
            if token_key_id(verifying[entry.id]) != entry.id:
                raise Malformed(f"token key {entry.id} is not the one that it is listed as")
            if entry.retired is None:
                signing = _signing(entry, privates[entry.id])
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise Malformed(f"key {entry.id} in {directory} can't be read") from error
    if signing is None:
        raise Malformed("BUG: an index without a current token key was accepted")
    return _Ring(
        trust_domain, token_life_s, entries, signing, MappingProxyType(verifying), MappingProxyType(authorities)
    )


def _authority(entry: _Entry, certificate: bytes, private: bytes, trust_domain: str) -> Authority:
    authority = Authority.load(certificate, private)
    if authority.id != entry.id or authority.trust_domain != trust_domain:
        raise Malformed(f"authority {entry.id} is not the one that it is listed as")
    return authority


def _signing(entry: _Entry, private: bytes) -> Ed25519PrivateKey:
    key = serialization.load_pem_private_key(private, password=None)
    if not isinstance(key, Ed25519PrivateKey) or token_key_id(key.public_key()) != entry.id:
        raise Malformed(f"the private half of token key {entry.id} is not its own")
    return key


def _parse_index(index: dict[str, Any]) -> tuple[str, int, tuple[_Entry, ...]]:
    """Read the index; ValueError, KeyError or TypeError for everything that :func:`_write` would not have written."""
    if set(index) != {"version", "trust_domain", "token_life_s", "keys"} or index["version"] != _VERSION:
        raise ValueError("unknown version")
    token_life_s = _whole(index["token_life_s"])
    entries = tuple(_Entry(**key) for key in index["keys"])
    for entry in entries:
        digits = {"token": 32, "authority": 64}[entry.kind]
        if not re.fullmatch(rf"[0-9a-f]{{{digits}}}", entry.id):
            raise ValueError("not an id")
        _whole(entry.created)
        if (entry.retired is None) != (entry.expires is None):
            raise ValueError("a retired key has an end, a current one has none")
        if entry.retired is not None:
            _whole(entry.retired)
            _whole(entry.expires)
    if len({entry.id for entry in entries}) != len(entries) or len(entries) > KEYS_LIMIT:
        raise ValueError("a key twice, or too many")
    if any(sum(e.kind == kind and e.retired is None for e in entries) != 1 for kind in KINDS):
        raise ValueError("not one current key of each kind")
    return check_trust_domain(index["trust_domain"]), token_life_s, entries


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("not a whole number")
    return value


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
