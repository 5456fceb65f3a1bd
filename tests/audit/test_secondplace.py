"""The second place: only appended to, and a line that a crash cut spoils no other."""

import base64
from pathlib import Path

import pytest

from jupyter_hpcsec.audit.notes import Checkpoint, Signer, sign_checkpoint
from jupyter_hpcsec.audit.secondplace import LINE_LIMIT, SecondPlace, parse_line, read_all
from jupyter_hpcsec.errors import HpcsecError, Malformed

ORIGIN = "test.example/audit"
SIGNER = Signer.make(ORIGIN)


def checkpoint(size: int) -> Checkpoint:
    return Checkpoint(ORIGIN, size, bytes(32))


def write(path: Path, *sizes: int) -> None:
    place = SecondPlace(path)
    for size in sizes:
        place.append(sign_checkpoint(SIGNER, checkpoint(size)))
    place.close()


def last(path: Path) -> Checkpoint | None:
    place = SecondPlace(path)
    try:
        return place.last(SIGNER.verifier, ORIGIN)
    finally:
        place.close()


def test_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    assert last(path) is None
    write(path, 1, 2)
    write(path, 3)
    assert last(path) == checkpoint(3)
    assert read_all(path, SIGNER.verifier, ORIGIN) == [(n, checkpoint(n)) for n in (1, 2, 3)]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_was_cut_is_told_of_and_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    write(path, 1, 2)
    path.write_bytes(path.read_bytes()[:-30])
    assert last(path) == checkpoint(1)
    assert isinstance(read_all(path, SIGNER.verifier, ORIGIN)[1][1], Malformed)
    write(path, 3)
    assert last(path) == checkpoint(3)
    found = [line for _, line in read_all(path, SIGNER.verifier, ORIGIN) if isinstance(line, Checkpoint)]
    assert found == [checkpoint(1), checkpoint(3)]


@pytest.mark.parametrize("line", [b"?", b"x" * (LINE_LIMIT + 1), base64.b64encode(b"no note"), b"AA=="])
def test_lines_that_are_none(line: bytes) -> None:
    with pytest.raises(HpcsecError):
        parse_line(line, SIGNER.verifier, ORIGIN)


def test_somebody_elses_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    write(path, 1)
    place = SecondPlace(path)
    with pytest.raises(HpcsecError):
        place.last(Signer.make(ORIGIN).verifier, ORIGIN)
    place.close()
