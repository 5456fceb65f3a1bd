"""The policy as the gateway holds it: loaded from its file, read anew when that changes, and asked for every session.

What the rules mean is decided in ``access.policy``; here is only the file. One that is missing, empty, writable by
others or wrong gives no rules at all: new sessions are refused until it is mended, running ones are left alone.
"""

import asyncio
import logging
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from jupyter_hpcsec.access.values import (
    Enforcement,
    Entry,
    Network,
    Resolved,
    Right,
    Subject,
    digest,
)
from jupyter_hpcsec.audit.events import Event, Object
from jupyter_hpcsec.audit.kinds.policy import PolicyLoaded, PolicyRefused
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused

POLICY_LIMIT = 512 * 1024
"""Bytes of a policy file."""
NO_POLICY_ABI = 4
"""What a session without a policy needs of the kernel: that it can be kept from listening."""

LOADING = "policy.unusable"
"""The rule under which sessions are refused while there are no rules to go by."""


class Rules(Protocol):
    """What is asked of a policy that was loaded."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the file's bytes."""

    def resolve(self, subject: Subject) -> Resolved:
        """All that concerns one subject; ``Refused`` when no rule does."""


class Policies(Protocol):
    """Where rules come from."""

    async def rules(self) -> Rules:
        """The rules now, the same object until they change; ``Refused`` when there are none to go by."""

    def forget(self) -> None:
        """Read anew when next asked."""

    def status(self) -> dict[str, Any]:
        """Facts for ``hpcsec doctor``."""

    def text(self) -> str:
        """The policy's own text, as it was loaded; empty where there is none to go by."""


@dataclass(frozen=True)
class NoRules:
    """What ``unsafe_no_access_control`` stands for: files as the account has them; still nothing listens."""

    digest: str = ""

    def resolve(self, subject: Subject) -> Resolved:
        """Everything may be written that the account may write."""
        everything = Entry(path="/", right=Right.WRITE, rule=1, line=1, who="unsafe_no_access_control")
        return Resolved(
            subject=subject,
            policy="",
            enforcement=Enforcement.ADVISORY,
            minimum_abi=NO_POLICY_ABI,
            network=Network(),
            entries=(everything,),
        )


class UnsafeNoPolicy:
    """No access control, which the admin asked for by name."""

    _rules = NoRules()

    async def rules(self) -> Rules:
        """Always the same."""
        return self._rules

    def forget(self) -> None:
        """There is nothing to read."""

    def status(self) -> dict[str, Any]:
        """That there is none."""
        return {"file": "", "digest": "", "error": "", "unsafe": True}

    def text(self) -> str:
        """There is none."""
        return ""


class PolicyFile:
    """One file, followed. ``load`` makes rules of its bytes and raises ``HpcsecError``; the name is for its errors.

    ``tell`` hears of each policy that is gone by from then on, and of one that can't be used.
    """

    def __init__(
        self,
        path: Path,
        load: Callable[[bytes, str], Rules],
        log: logging.Logger,
        tell: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self._path, self._load, self._log, self._tell = path, load, log, tell
        self._content = b""
        self._identity: tuple[int, ...] | None = None
        self._rules: Rules | None = None
        self._error = ""
        self._reading = asyncio.Lock()

    async def rules(self) -> Rules:
        """As of now: the file is looked at each time, and read when it is another one than it was."""
        async with self._reading:
            identity = self._look()
            if identity is None or identity != self._identity:
                await self._read(identity)
        if self._rules is None:
            raise Refused(
                LOADING,
                "No session can start: the access policy on the hub's host can't be used. Your administrators find the "
                "reason in the gateway's log, or with `hpcsec access check`.",
            )
        return self._rules

    def forget(self) -> None:
        """Read anew when next asked."""
        self._identity = None

    def status(self) -> dict[str, Any]:
        """The file, the hash of the rules in force, and what was wrong with it when it was last looked at."""
        digest_now = self._rules.digest if self._rules else ""
        return {"file": str(self._path), "digest": digest_now, "error": self._error, "unsafe": False}

    def text(self) -> str:
        """As it was loaded, which the file itself may no longer be."""
        return self._content.decode("utf-8", errors="replace")

    def _look(self) -> tuple[int, ...] | None:
        try:
            return _identity(self._path.stat())
        except OSError:
            return None

    async def _read(self, identity: tuple[int, ...] | None) -> None:
        read, content = identity, b""
        try:
            content, read = read_policy(self._path)
            # half a second for 1,000 rules: the loop has keystrokes to carry
            rules: Rules | None = await asyncio.to_thread(self._load, content, str(self._path))
            error = ""
        except HpcsecError as failure:
            rules, error = None, failure.reason
        if rules is not None and (self._rules is None or rules.digest != self._rules.digest):
            self._log.info("policy %s loaded, sha256 %s", self._path, rules.digest)
            self._tell(PolicyLoaded(policy=rules.digest, object=self._object(content)))
        if error and error != self._error:
            self._log.error("policy %s can't be used, so no session starts: %s", self._path, error)
            self._tell(PolicyRefused(object=self._object(content), decision="refused", rule=LOADING, reason=error))
        if rules is None or self._rules is None or rules.digest != self._rules.digest:
            self._rules = rules
        self._content = content if rules is not None else b""
        self._identity, self._error = read, error

    def _object(self, content: bytes) -> Object:
        return Object.of_path(os.fsencode(self._path), size=len(content))


def read_policy(path: Path) -> tuple[bytes, tuple[int, ...] | None]:
    """The file's bytes and what identifies them; ``Malformed`` when it is none that may be relied on.

    1. It can be opened and is a plain file. 2. Nobody but root and this process's user may have written it.
    3. It is not empty and not too large. 4. It did not change while it was read.
    """
    try:
        # a pipe is not waited for: this is the event loop's thread
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):  # 1
                raise Malformed(f"{path} is not a file.")
            if facts.st_uid not in {0, os.geteuid()} or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):  # 2
                raise Malformed(
                    f"{path} may have been written by others (owner {facts.st_uid}, mode "
                    f"{stat.S_IMODE(facts.st_mode):04o}): run `chown root {path}; chmod go-w {path}`."
                )
            content = file.read(POLICY_LIMIT + 1)
            after = os.fstat(file.fileno())
    except OSError as error:
        raise Malformed(f"{path} can't be read: {error.strerror}.") from error
    if not content.strip():  # 3
        raise Malformed(f"{path} is empty: an empty policy lets nobody do anything.")
    if len(content) > POLICY_LIMIT:
        raise Malformed(f"{path} has more than {POLICY_LIMIT} bytes.")
    if _identity(facts) != _identity(after) or len(content) != after.st_size:  # 4
        raise Malformed(f"{path} changes while it is read; write a new file and rename it to this name.")
    return content, _identity(after)


def _identity(facts: os.stat_result) -> tuple[int, ...]:
    return facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino, facts.st_size, facts.st_mode, facts.st_uid


def meaning(resolved: Resolved) -> str:
    """A hash of what the kernel and the server hold a user to; the policy's comments, line numbers and order are not in
    it, so that an edit that changes nothing for a user ends no session.
    """
    entries = sorted({(entry.path, str(entry.right), entry.required) for entry in resolved.entries})
    return digest(
        Resolved(
            subject=resolved.subject,
            policy="",
            enforcement=resolved.enforcement,
            minimum_abi=resolved.minimum_abi,
            network=Network(bind=resolved.network.bind, connect=tuple(sorted(set(resolved.network.connect)))),
            entries=tuple(
                Entry(path=path, right=Right(right), required=required, rule=0, line=0, who="")
                for path, right, required in entries
            ),
            hide_denied=resolved.hide_denied,
        )
    )
