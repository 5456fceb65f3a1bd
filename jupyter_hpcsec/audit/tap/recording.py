"""What of a session's work is recorded: the site's choice, as values. Pure.

Three levels. ``metadata``: who did what when, with sizes and hashes. ``sources``: also what was given to kernels to
run, and what was typed. ``sources+outputs``: also what kernels answered, up to a limit per cell, and what terminals
showed. Texts are sealed
beside their events (``audit.values``), after what looks like a secret was taken out.
"""

import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from jupyter_hpcsec.audit.values import VALUE_LIMIT
from jupyter_hpcsec.errors import Malformed

PIECES = 11
"""Sealed values that one text may take: those of the largest message that passes."""


class Level(StrEnum):
    """How much is recorded; each level holds those before it."""

    METADATA = "metadata"
    SOURCES = "sources"
    OUTPUTS = "sources+outputs"


SECRETS = (
    r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----[\s\S]{0,8192}?-----END [A-Z ]{0,32}PRIVATE KEY-----",
    r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA)[0-9A-Z]{16}\b",
    r"\bgh[pousr]_[A-Za-z0-9]{36,255}\b",
    r"\bgithub_pat_[A-Za-z0-9_]{22,255}\b",
    r"\bglpat-[A-Za-z0-9_-]{20,64}\b",
    r"\bhf_[A-Za-z0-9]{30,64}\b",
    r"\bsk-[A-Za-z0-9_-]{20,200}\b",
    r"\bxox[abeoprs]-[A-Za-z0-9-]{10,200}\b",
    r"\bAIza[0-9A-Za-z_-]{35}\b",
    r"\bpypi-[A-Za-z0-9_-]{50,255}\b",
    r"\beyJ[A-Za-z0-9_-]{8,2048}\.eyJ[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{8,1024}",
    r"(?<=://)[^\s/:@'\"]{1,128}:[^\s/@'\"]{1,256}(?=@)",
    r"(?i)(?<=bearer )[A-Za-z0-9._~+/-]{16,2048}=*",
    r"(?i)\b(?:pass(?:word|wd|phrase)?|secret|api[_-]?key|access[_-]?key|auth[_-]?token|token)"
    r"[\"']?\s{0,4}[=:]\s{0,4}(?:[\"'][^\"'\n]{1,256}[\"']|[^\s\"',)]{8,256})",
)
"""What looks like a secret: private keys, tokens of known services, passwords in addresses, and what is assigned to a
name that says so. Each pattern looks a bounded way ahead, so that no text makes it slow."""
REDACTED = "[redacted]"
PATTERN_LIMIT = 1000


@dataclass(frozen=True)
class Recording:
    """What is recorded of one session. ``output_limit`` is bytes per cell, and per line typed.

    ``hashes_files``: files that pass are hashed, which costs time by the byte.
    """

    level: Level = Level.SOURCES
    output_limit: int = 65_536
    hashes_files: bool = False
    secrets: re.Pattern[str] | None = None

    @property
    def keeps_sources(self) -> bool:
        """Whether what kernels are given is recorded."""
        return self.level is not Level.METADATA

    @property
    def keeps_outputs(self) -> bool:
        """Whether what kernels answer is recorded."""
        return self.level is Level.OUTPUTS

    def sealed(self, name: str, text: str) -> "Text":
        """A text as it may be recorded."""
        redacted = 0
        if self.secrets is not None:
            text, redacted = self.secrets.subn(REDACTED, text)
        return self.as_is(name, text, redacted)

    def redact_parts(self, parts: Sequence[str]) -> tuple[list[str], int]:
        """Parts of one text without the secrets that are in the whole of it, and how many those were."""
        whole = "".join(parts)
        spans = [match.span() for match in self.secrets.finditer(whole)] if self.secrets is not None else []
        shown = list(whole)
        for start, end in spans:
            shown[start:end] = [REDACTED, *[""] * (end - start - 1)]
        ends = [0, *itertools.accumulate(map(len, parts))]
        return ["".join(shown[start:end]) for start, end in itertools.pairwise(ends)], len(spans)

    def as_is(self, name: str, text: str, redacted: int) -> "Text":
        """A text from which the secrets have been taken."""
        data = text.encode("utf-8", errors="replace")
        values = pieces(name, data) if self.keeps_sources else {}
        return Text(values, len(data), hashlib.sha256(data).hexdigest(), redacted)

    def sentence(self) -> str:
        """What its user is told."""
        told = "Requests, file names and sizes, and the use of kernels and terminals are recorded for this session."
        if self.keeps_sources:
            told += " So is the code that you run and what you type into terminals and prompts."
        if self.keeps_outputs:
            told += (
                f" So is what your cells print or show, up to {self.output_limit} bytes per cell, and what your "
                "terminals show, up to as many per line that you type."
            )
        if self.hashes_files:
            told += " Files that you upload, save or download are fingerprinted."
        return told


@dataclass(frozen=True, slots=True)
class Text:
    """A recorded text: its sealed values, size and SHA-256 (after redaction), and how many secrets were taken out."""

    values: Mapping[str, bytes]
    size: int
    sha256: str
    redacted: int


def pieces(name: str, data: bytes) -> dict[str, bytes]:
    """A value in as many parts as it needs: ``name``, ``name_2``, ``name_3``…"""
    parts = [data[at : at + VALUE_LIMIT] for at in range(0, max(1, len(data)), VALUE_LIMIT)][:PIECES]
    return {name if number == 1 else f"{name}_{number}": part for number, part in enumerate(parts, 1)}


def secrets_pattern(own: Sequence[str] = (), *, with_known: bool = True) -> re.Pattern[str] | None:
    """One pattern of the known ones and the site's own; ``Malformed`` names one that can't be used."""
    patterns = [*(SECRETS if with_known else ()), *own]
    for pattern in own:
        if len(pattern) > PATTERN_LIMIT:
            raise Malformed(f"the redaction pattern {pattern[:40]!r}… has more than {PATTERN_LIMIT} characters")
        try:
            compiled = re.compile(pattern)
        except re.error as exc:
            raise Malformed(f"the redaction pattern {pattern!r} is no regular expression: {exc}") from exc
        if compiled.match(""):
            raise Malformed(f"the redaction pattern {pattern!r} matches nothing at all, so it would match everywhere")
    scoped = [f"(?i:{each[4:]})" if each.startswith("(?i)") else f"(?:{each})" for each in patterns]
    return re.compile("|".join(scoped)) if scoped else None
