"""Lists and rotates a deployment's keys: by asking the gateway that uses them, or in its directory while none runs.

The files are touched only where no gateway answers: one that runs keeps its keys in memory and would go on signing with
what was retired. What it may not do: show a private key, or take the files because a gateway refused.
"""

import socket as sockets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.identity.keys import KINDS, KeyRing, Kind
from jupyter_hpcsec.tunnel.admin import AdminClient

CONNECT_S = 5.0


@dataclass(frozen=True)
class KeyReport:
    """All keys, and who gave them: ``by`` is ``gateway`` or ``files``, ``where`` the admin socket or the directory.

    ``lost``: sessions whose tokens were dropped; None where none were, or where there was no gateway that knows them.
    """

    by: str
    where: str
    keys: tuple[Mapping[str, Any], ...]
    has_dropped: bool = False
    lost: tuple[Mapping[str, Any], ...] | None = None


async def list_keys(socket: Path, directory: Path | None, now: int) -> KeyReport:
    """List the keys; ``directory`` serves where no gateway runs at ``socket``. ``now``: Unix seconds."""
    return await rotate_keys((), socket, directory, now)


async def rotate_keys(kinds: Sequence[Kind], socket: Path, directory: Path | None, now: int) -> KeyReport:
    """Make a new current key of each of ``kinds``, then list all keys.

    Raises :class:`Unavailable` where no gateway runs and no directory is given, or one runs that gives no answer.
    """
    if directory is None or gateway_runs(socket):
        client = AdminClient(socket)
        for kind in kinds:
            await client.rotate(kind)
        return KeyReport("gateway", str(socket), tuple(await client.keys()))
    ring = KeyRing.load(directory)
    for kind in kinds:
        ring.rotate(kind, now)
    return KeyReport("files", str(directory), tuple(asdict(info) for info in ring.list(now)))


async def drop_tokens(socket: Path, directory: Path | None, now: int) -> KeyReport:
    """Make a new token key and drop all others at once; jobs that have not enrolled lose their tokens.

    Raises as :func:`rotate_keys`.
    """
    if directory is None or gateway_runs(socket):
        client = AdminClient(socket)
        lost = tuple(await client.drop_tokens())
        return KeyReport("gateway", str(socket), tuple(await client.keys()), has_dropped=True, lost=lost)
    ring = KeyRing.load(directory)
    ring.drop_tokens(now)
    return KeyReport("files", str(directory), tuple(asdict(info) for info in ring.list(now)), has_dropped=True)


async def authority_pem(socket: Path, directory: Path | None) -> str:
    """The certificate of the current authority, no secret: the running gateway's, or a directory's."""
    if directory is None or gateway_runs(socket):
        der = bytes.fromhex((await AdminClient(socket).status())["ca_certificate"])
    else:
        der = KeyRing.load(directory).authority().certificate_der
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode("ascii")


def gateway_runs(socket: Path) -> bool:
    """Tell whether somebody listens at ``socket``; :class:`Unavailable` where that can't be told."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
        probe.settimeout(CONNECT_S)
        try:
            probe.connect(str(socket))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError as error:
            raise Unavailable(
                f"whether a gateway runs at {socket} can't be told ({error.strerror or error}); the keys' files stay as"
                " they are. Run this as the gateway's user, or stop the gateway first."
            ) from error
    return True


def kinds_of(name: str) -> tuple[Kind, ...]:
    """``token``, ``authority`` or ``all`` as a tuple of kinds."""
    return tuple(kind for kind in KINDS if name in (kind, "all"))


def describe(report: KeyReport, now: int) -> str:
    """The report as text for people: one line a key, then who gave it."""
    lines = [f"{'KIND':<10} {'CREATED':<17} {'STATE':<40} ID"]
    lines += [f"{k['kind']:<10} {_time(k['created']):<17} {_state(k, now):<40} {k['id']}" for k in report.keys]
    lines += _losses(report)
    if report.by == "gateway":
        lines.append(f"\nAnswered by the gateway at {report.where}.")
    else:
        lines.append(
            f"\nRead from the files in {report.where}: no gateway runs at the admin socket. One that runs with another"
            " socket takes a rotation up when it is told to reload (SIGHUP)."
        )
    return "\n".join(lines)


def _losses(report: KeyReport) -> list[str]:
    if not report.has_dropped:
        return []
    said = "\nNo older token is accepted."
    if report.lost is None:
        return [f"{said} Jobs that have not enrolled can't any more: cancel them, and start their servers anew."]
    if not report.lost:
        return [f"{said} No job was waiting with one."]
    lines = [f"{said} Ended, because they waited with one ({len(report.lost)}):"]
    lines.append(f"{'JOB':<12} {'USER':<16} {'SERVER':<16} SESSION")
    return lines + [f"{s['job_id'] or '-':<12} {s['user']:<16} {s['server'] or '-':<16} {s['id']}" for s in report.lost]


def _state(key: Mapping[str, Any], now: int) -> str:
    if not key["current"]:
        return f"retired, accepted until {_time(key['expires'])}"
    if key["expires"] is None:
        return "current"
    return f"current, ends {_time(key['expires'])}" if key["expires"] > now else "current, EXPIRED: rotate"


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%MZ")
