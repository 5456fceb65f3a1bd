"""The witness behind ``hpcsec audit witness``: where it gets the log from, and how often it looks."""

import time
from collections.abc import Callable
from pathlib import Path

import httpx

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.cosign import Cosigned
from jupyter_hpcsec.audit.notes import Verifier
from jupyter_hpcsec.audit.tiles import Load
from jupyter_hpcsec.audit.witness import ALARMS, Witness
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable

ALARM = 3
"""Exit status where the log is not what it was; 1 stands for everything else that went wrong."""
TIMEOUT_S = 30.0


def source(place: str) -> Load:
    """What reads a log's files: from its ``log/`` directory, or from where that is served by HTTP."""
    if place.startswith(("https://", "http://")):
        return _http(place.rstrip("/"))
    directory = Path(place)
    if not directory.is_dir():
        raise Unavailable(f"{place} is no directory; name the record's log/, or the URL at which it is served")
    return lambda path, limit: files.read(directory / path, limit)


def _http(base: str) -> Load:
    def load(path: str, limit: int) -> bytes:
        url = f"{base}/{path}"
        try:
            with httpx.stream("GET", url, timeout=TIMEOUT_S, follow_redirects=False) as answer:
                if answer.status_code == httpx.codes.NOT_FOUND:
                    raise FileNotFoundError(2, "not found", url)
                if answer.status_code != httpx.codes.OK:
                    raise Unavailable(f"{url} answered {answer.status_code}")
                data = b""
                for part in answer.iter_bytes():
                    data += part
                    if len(data) > limit:
                        raise Malformed(f"{url} is longer than {limit} bytes")
        except httpx.HTTPError as error:
            raise Unavailable(f"{url}: {error or type(error).__name__}") from error
        return data

    return load


def run(
    *,
    directory: Path,
    name: str,
    log_key: str,
    place: str,
    every_s: float,
    say: Callable[[str], None],
    clock: Callable[[], float] = time.time,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Look once, or every so many seconds until the log is refused; the exit status."""
    witness = Witness(directory, name=name, log=Verifier.parse(log_key), clock=clock)
    try:
        say(f"the witness's key: {witness.key}")
        load = source(place)
        while True:
            try:
                say(_said(witness.look(load)))
            except Refused as refusal:
                if refusal.rule not in ALARMS:
                    raise
                say(f"ALARM: {refusal.reason}. Its checkpoint is kept in {directory / 'evidence'}.")
                return ALARM
            except (HpcsecError, OSError) as error:
                if not every_s:
                    raise Unavailable(str(error)) from error
                say(f"it could not be looked at: {error}")
            if not every_s:
                return 0
            pause(every_s)
    finally:
        witness.close()


def _said(cosigned: Cosigned) -> str:
    size = cosigned.checkpoint.size
    return f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(cosigned.time))} cosigned {size} events"
