"""What a command line says about mining: one kind of evidence among others, never enough by itself. Pure.

The command lines themselves go nowhere: only the names of the signs leave the process that read them. Sources: the
manuals of the named programs; the stratum protocol's URL schemes; Slurm sites' published hunting rules.
"""

import re

PROGRAMS = (
    "xmrig", "xmr-stak", "t-rex", "trex", "lolminer", "nbminer", "gminer", "phoenixminer", "ethminer", "teamredminer",
    "cpuminer", "minerd", "cgminer", "bfgminer", "srbminer", "srbminer-multi", "nanominer", "miniz", "bzminer", "rigel",
    "onezerominer", "wildrig-multi", "kawpowminer", "ccminer", "claymore", "excavator", "bminer", "z-enemy",
)  # fmt: skip

_POOL = re.compile(rb"stratum[12]?(?:\+(?:tcp|ssl|tls|udp))?://|stratum\+", re.IGNORECASE)
_ALGORITHM = re.compile(
    rb"(?:^|\0)(?:-a|-A|--algo|--algorithm|--coin)[=\0](?:ethash|etchash|kawpow|progpow|randomx|rx/0|autolykos2?|octopus|"
    rb"equihash|cuckatoo|kheavyhash|blake3|cryptonight|verushash|beamhash|firopow|xmr|monero|etc|rvn|kas)",
    re.IGNORECASE,
)
_SHARE = re.compile(rb"--donate-level|--donate-over-proxy|--nicehash|--wallet[=\0]", re.IGNORECASE)
LIMIT = 16 * 1024
"""Bytes of a command line that are looked at."""


def in_command(command: bytes) -> tuple[str, ...]:
    """``pool``, ``algorithm``, ``payout``, ``program``: what ``/proc/PID/cmdline`` has of each."""
    command = command[:LIMIT]
    words = [word.rsplit(b"/", 1)[-1].lower() for word in command.split(b"\0")[:3]]
    found = [
        name
        for name, pattern in (("pool", _POOL), ("algorithm", _ALGORITHM), ("payout", _SHARE))
        if pattern.search(command)
    ]
    if any(word.decode("ascii", "replace") in PROGRAMS for word in words):
        found.append("program")
    return tuple(found)
