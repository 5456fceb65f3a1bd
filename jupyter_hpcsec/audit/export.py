"""Takes events out of a record as a bundle that verifies by itself: events, proofs, checkpoint, key, and a verifier.

A bundle is a directory, or a tar file of one. Every event is checked against the checkpoint before it is written; one
that does not hold stops the export.
"""

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from jupyter_hpcsec.audit import bundle_verifier, files, values
from jupyter_hpcsec.audit.layout import Layout
from jupyter_hpcsec.audit.notes import Verifier
from jupyter_hpcsec.audit.proofs import Prover
from jupyter_hpcsec.errors import Refused, Unavailable

README = """Audit events, exported. `python3 -I verify.py --key KEY` says whether they are those that were recorded.

events.jsonl    one event a line, byte for byte as it was hashed (RFC 8785)
proofs.jsonl    its index and its proof of inclusion (RFC 6962), line by line
checkpoint      the signed head that the proofs lead to (c2sp.org/tlog-checkpoint)
verifier.key    the log's public key: compare it with what you got by another way
values.jsonl    sealed values with their salts, where they were asked for
manifest.json   who asked for what, when
"""


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself. ``recorded``: whether the export is an event of the log too."""

    version: int
    origin: str
    size: int
    count: int
    question: str
    by: str
    time: str
    with_values: bool
    recorded: bool


def make_bundle(
    layout: Layout,
    key: Verifier,
    leaves: Sequence[int],
    *,
    question: str,
    by: str,
    time: str,
    with_values: bool,
    recorded: bool,
) -> dict[str, bytes]:
    """The bundle's files by name. ``Malformed`` where an event is not the one that was signed."""
    prover, finder = Prover(layout, key), values.Finder(layout)
    events, proofs, kept = io.BytesIO(), io.BytesIO(), io.BytesIO()
    for proved in prover.prove(sorted(set(leaves))):
        events.write(proved.leaf + b"\n")
        shown = {"index": proved.index, "proof": [each.hex() for each in proved.proof]}
        proofs.write(json.dumps(shown, separators=(",", ":")).encode() + b"\n")
        if with_values and b'"sealed":{' in proved.leaf:
            with files.translated(layout.values):
                kept.writelines(value.line() for value in finder.find(proved.index))
    count = len(set(leaves))
    manifest = Manifest(1, key.name, prover.head.size, count, question, by, time, with_values, recorded)
    made = {
        "README": README.encode(),
        "manifest.json": json.dumps(asdict(manifest), indent=1).encode() + b"\n",
        "checkpoint": prover.note,
        "verifier.key": f"{key}\n".encode(),
        "events.jsonl": events.getvalue(),
        "proofs.jsonl": proofs.getvalue(),
        "verify.py": Path(bundle_verifier.__file__).read_bytes(),
    }
    return made | ({"values.jsonl": kept.getvalue()} if with_values else {})


def write_bundle(made: dict[str, bytes], destination: Path) -> None:
    """Write it as a new directory (0700), or as a tar file (0600) where the name ends with ``.tar``."""
    try:
        if destination.suffix == ".tar":
            files.write_new(destination, tar(made, destination.stem))
            return
        destination.mkdir(mode=0o700)
        for name, data in made.items():
            files.write_new(destination / name, data)
    except FileExistsError as exc:
        raise Refused("audit.exists", f"{destination} exists; an export replaces nothing") from exc
    except OSError as exc:
        raise Unavailable(f"{destination}: {exc.strerror or exc}") from exc


def tar(made: dict[str, bytes], stem: str) -> bytes:
    """The files below a directory ``stem``, as a tar file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in made.items():
            member = tarfile.TarInfo(f"{stem}/{name}")
            member.size, member.mode = len(data), 0o600
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()
