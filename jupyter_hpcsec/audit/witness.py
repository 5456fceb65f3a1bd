"""A witness: it cosigns a log's checkpoint once it has seen that the log goes on from the one it cosigned before.

It needs the log's checkpoint and hash tiles, and no event. What it cosigned last is kept in its directory, as the note
that it gives out; a log that went back or forked is refused, and the note that shows it is kept as evidence.
"""

import base64
from collections.abc import Callable
from pathlib import Path

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.cosign import Cosigned, Cosigner, WitnessKey, open_cosigned
from jupyter_hpcsec.audit.merkle import consistency_proof, verify_consistency
from jupyter_hpcsec.audit.notes import NOTE_LIMIT, Checkpoint, Verifier, open_checkpoint
from jupyter_hpcsec.audit.recovery import KEY_LIMIT
from jupyter_hpcsec.audit.tiles import Load, Tiles
from jupyter_hpcsec.errors import Malformed, Refused, Unavailable

ALARMS = ("witness.rolled-back", "witness.forked")
"""Rules by which a log is refused that is not what it was: for people to look at, at once."""


class Witness:
    """The witness of one log, with its key and what it cosigned last in ``directory`` (0700)."""

    def __init__(self, directory: Path, *, name: str, log: Verifier, clock: Callable[[], float]) -> None:
        """Take it up, or begin at the first start. ``Refused``, ``Malformed``, ``Unavailable``."""
        self._directory, self._log, self._clock = directory, log, clock
        files.make_directory(directory)
        self._lock = files.Lock(directory / "lock")
        try:
            self._signer = self._take_key(name)
            self._last = self._take_last()
        except BaseException:
            self.close()
            raise

    @property
    def key(self) -> WitnessKey:
        """The public key."""
        key = self._signer.verifier
        if not isinstance(key, WitnessKey):
            raise TypeError("BUG: a witness with the key of a log")
        return key

    @property
    def cosigned(self) -> Path:
        """The newest checkpoint with its cosignature: to be fetched by whoever wants to know."""
        return self._directory / "cosigned"

    def close(self) -> None:
        """Let another process be this witness."""
        self._lock.release()

    def look(self, load: Load) -> Cosigned:
        """Look at the log once, and cosign it. Numbered, since the order is what makes it safe.

        ``Refused`` by a rule of ``ALARMS`` where the log is not what it was; ``Malformed``, ``Unavailable``,
        ``OSError`` where it can't be looked at.
        """
        # 1. The checkpoint's signature, by the log's key.
        note = load("checkpoint", NOTE_LIMIT)
        checkpoint = open_checkpoint(note, self._log, self._log.name)
        # 2. It goes on from the one that was cosigned last.
        try:
            check_growth(self._last.checkpoint if self._last else None, checkpoint, load)
        except Refused as refusal:
            if refusal.rule in ALARMS:
                files.replace(self._directory / "evidence", note)
            raise
        # 3. Cosigned with a time that never goes back, and durable before anybody gets it.
        time = max(int(self._clock()), self._last.time if self._last else 0)
        made = self._signer.cosign(_only_signed_by(note, checkpoint, self._log), checkpoint.text(), time)
        files.replace(self.cosigned, made)
        self._last = Cosigned(checkpoint, time)
        if not self._pinned.exists():
            files.write_new(self._pinned, f"{self._log}\n".encode())
        return self._last

    @property
    def _pinned(self) -> Path:
        return self._directory / "log.key"

    def _take_key(self, name: str) -> Cosigner:
        path = self._directory / "witness.key"
        with files.translated(path):
            if not path.exists():
                made = Cosigner.make(name)
                files.write_new(path, made.secret().encode() + b"\n")
                files.replace(path.with_suffix(".vkey"), f"{made.verifier}\n".encode())
        return Cosigner.parse(files.read_private(path, KEY_LIMIT).decode("utf-8", errors="replace").removesuffix("\n"))

    def _take_last(self) -> Cosigned | None:
        """What was cosigned last. Once there was something, its loss is refused: a witness that forgets is none."""
        with files.translated(self._directory):
            if not self._pinned.exists() and not self.cosigned.exists():
                return None
            if self._pinned.exists() and files.read(self._pinned, KEY_LIMIT).decode() != f"{self._log}\n":
                raise Refused("witness.key", f"{self._directory} is the witness of a log with another key")
            if not self.cosigned.exists():
                raise Refused("witness.state", f"{self.cosigned} is gone: this witness does not know what it has seen")
            return open_cosigned(files.read(self.cosigned, NOTE_LIMIT), self._log, self.key)


def check_growth(old: Checkpoint | None, new: Checkpoint, load: Load) -> None:
    """Whether a log of which ``old`` was seen may be at ``new``, by its hash tiles. ``Refused``, ``Unavailable``."""
    if old is None:
        return
    if new.size < old.size:
        said = f"the log had {old.size} events when it was cosigned last, now it has {new.size}"
        raise Refused("witness.rolled-back", said)
    tiles = Tiles(load, new.size)
    try:
        proof = consistency_proof(old.size, new.size, tiles.subtree)
    except (OSError, Malformed) as error:
        raise Unavailable(f"the log's tiles can't be read: {error}") from error
    if not verify_consistency(old.size, new.size, old.root, new.root, proof):
        said = f"the log of {new.size} events does not begin with the {old.size} that were cosigned last"
        raise Refused("witness.forked", said)


def _only_signed_by(note: bytes, checkpoint: Checkpoint, log: Verifier) -> bytes:
    """The note with the log's own signature and no other: what others added is theirs to say."""
    signatures = [line.split(" ", 2) for line in note.decode().split("\n\n")[-1].splitlines()]
    own = next(each for each in signatures if each[1] == log.name and base64.b64decode(each[2])[:4] == log.key_id)
    return f"{checkpoint.text()}\n{' '.join(own)}\n".encode()
