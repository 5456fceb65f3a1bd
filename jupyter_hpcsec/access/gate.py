"""The policy as a program asks it about files that it is about to touch: by the place where a path really leads.

It is the courtesy, not the wall: the kernel enforces the same policy on the whole session (``sandbox``). What is
refused here is refused with a sentence that names the rule and whom to ask.
"""

import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from jupyter_hpcsec.access.decision import NOTHING, Decision, Decisions
from jupyter_hpcsec.access.openat2 import open_resolved
from jupyter_hpcsec.access.prefixes import is_below
from jupyter_hpcsec.access.values import ACCESS_VARIABLE, SIZE_LIMIT, Entry, Resolved, Right
from jupyter_hpcsec.errors import Malformed, Refused, Unavailable

FILE_LIMIT = 2 * SIZE_LIMIT
"""Bytes of that file: beside the rules it holds the sandbox's receipt."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_ENOUGH = {Right.READ: {Right.READ, Right.WRITE}, Right.WRITE: {Right.WRITE}}


class _File(msgspec.Struct):
    rules: Resolved


@dataclass(frozen=True)
class Gate:
    """Asked before each access. ``scratch`` are the session's own places for temporary files, which no rule names;
    ``closed`` are the session's places that no user's request has business in (sockets, connection files)."""

    resolved: Resolved
    decisions: Decisions
    scratch: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    everywhere: Entry | None = None
    """The entry for ``/``, which only a session without access control has: ``Decisions`` knows places below it."""
    on_refused: Callable[[str, Refused], None] = lambda path, error: None
    """Told, by whoever asks the gate for a user, of what the user was refused."""

    @classmethod
    def of(cls, resolved: Resolved, *, scratch: tuple[str, ...] = (), closed: tuple[str, ...] = ()) -> "Gate":
        """The gate for what a policy came to for one user. A rule's path means the place where it leads, too."""
        everywhere = next((entry for entry in resolved.entries if entry.path == "/"), None)
        below = tuple(
            msgspec.structs.replace(entry, path=path)
            for entry in resolved.entries
            for path in dict.fromkeys((entry.path, os.path.realpath(entry.path)))
            if path != "/"
        )
        resolved = msgspec.structs.replace(resolved, entries=below)
        return cls(resolved, Decisions(resolved), scratch, closed, everywhere)

    def decide(self, path: str) -> Decision:
        """The decision on a path that has no symbolic link in it. A rule of the policy wins over ``scratch``."""
        decision = self.decisions.decide(path)
        scratch, closed = _nearest(path, self.scratch), _nearest(path, self.closed)
        if len(closed) > len(scratch):
            return NOTHING
        if decision.entry is None and scratch:
            return Decision(Right.WRITE, None)
        if decision.entry is None and self.everywhere is not None:
            return Decision(self.everywhere.right, self.everywhere)
        return decision

    def may(self, path: str, right: Right, *, follow: bool = True) -> bool:
        """Whether ``right`` is held where the path leads."""
        return self.decide(real_path(path, follow=follow)).right in _ENOUGH[right]

    def leads_on(self, path: str) -> bool:
        """Whether a directory that is not allowed itself has to be passed to reach something that is."""
        real = real_path(path)
        decision = self.decide(real)
        return decision.is_denied and decision.entry is None and self.decisions.leads_on(real)

    def names_on(self, path: str) -> list[str]:
        """The names in such a directory behind which something is allowed."""
        real = real_path(path)
        depth = 0 if real == "/" else real.count("/")
        allowed = [entry.path for entry in self.below(real) if not self.decide(entry.path).is_denied]
        return sorted({path.split("/")[depth + 1] for path in allowed})

    def require(self, path: str, right: Right, *, follow: bool = True, shown: str = "") -> str:
        """Where the path leads, if ``right`` is held there; else ``Refused``. ``shown`` is how the user calls it."""
        real = real_path(path, follow=follow)
        decision = self.decide(real)
        if decision.right not in _ENOUGH[right]:
            raise self.refusal(shown or path, decision)
        return real

    def require_whole(self, path: str, *, shown: str = "") -> str:
        """As ``require`` for writing, but for all that is below the path, too: for what is moved or removed whole.

        The path itself is meant, not where it leads when it is a symbolic link; and it is its directory that changes.
        """
        self.require(os.path.dirname(path), Right.WRITE, shown=shown)
        real = self.require(path, Right.WRITE, follow=False, shown=shown)
        for entry in self.below(real):
            decision = self.decide(entry.path)
            if decision.right is not Right.WRITE:
                raise self.refusal(entry.path, decision)
        return real

    def below(self, real: str) -> Iterator[Entry]:
        """The policy's entries strictly below a path."""
        return (entry for entry in self.resolved.entries if entry.path != real and is_below(entry.path, real))

    def refusal(self, shown: str, decision: Decision) -> Refused:
        """The sentence for the user: what, by which rule, whom to ask."""
        ask = f" Ask {self.resolved.contact} for access." if self.resolved.contact else ""
        entry = decision.entry
        if entry is None:
            return Refused("access.nothing", f"No rule of the access policy allows {shown}.{ask}")
        by = f"rule {entry.rule} of the access policy (line {entry.line}, for {entry.who})"
        if decision.right is Right.READ:
            return Refused("access.read-only", f"{shown} may be read but not changed: {by}.{ask}")
        return Refused("access.denied", f"{shown} is closed to you by {by}.{ask}")

    def open(self, path: str, flags: int, mode: int = 0o666, *, shown: str = "") -> int:
        """Decide on where the path leads, then open that very place; ``Refused`` or OSError."""
        real = self.require(path, Right.WRITE if flags & _WRITING else Right.READ, shown=shown)
        return self._open(real, flags, mode, shown or path)

    def open_regular(self, path: str, flags: int, mode: int = 0o666, *, shown: str = "") -> int:
        """As ``open``, for a file with content; a FIFO, a socket, a device or a directory is EINVAL."""
        descriptor = self.open(path, flags, mode, shown=shown)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "not a regular file", path)
        os.set_blocking(descriptor, True)
        return descriptor

    def hold(self, real: str, *, shown: str = "") -> int:
        """A descriptor of a directory whose path has no link in it, to name things in by ``dir_fd``."""
        return self._open(real, os.O_PATH | os.O_DIRECTORY, 0, shown or real)

    @staticmethod
    def _open(real: str, flags: int, mode: int, shown: str) -> int:
        try:
            return open_resolved(real, flags, mode)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise Refused("access.changed", f"{shown} was changed while it was opened; try again.") from error
            raise


def real_path(path: str, *, follow: bool = True) -> str:
    """Where a path leads, also when its last part does not exist. Without ``follow`` the last part is left as it is."""
    if follow:
        return os.path.realpath(path)
    above, name = os.path.split(path)
    return os.path.join(os.path.realpath(above), name)


def _nearest(path: str, places: tuple[str, ...]) -> str:
    """The innermost of the places that hold a path; empty when none does."""
    return max((place for place in places if is_below(path, place)), key=len, default="")


def delivered(environment: Mapping[str, str]) -> Gate | None:
    """The gate of this session, None outside of one; ``Unavailable`` or ``Malformed`` when it can't be had."""
    path = environment.get(ACCESS_VARIABLE)
    if not path:
        return None
    try:
        with Path(path).open("rb") as file:
            content = file.read(FILE_LIMIT + 1)
    except OSError as error:
        raise Unavailable(f"The session's access rules can't be read from {path}: {error.strerror}.") from error
    return Gate.of(
        parse_rules(content),
        scratch=(os.path.realpath(tempfile.gettempdir()),),
        closed=(os.path.dirname(os.path.realpath(path)),),
    )


def parse_rules(content: bytes) -> Resolved:
    """Read what the agent wrote (``hub.session_files``): one JSON object whose ``rules`` are a ``Resolved``."""
    if len(content) > FILE_LIMIT:
        raise Malformed(f"The session's access rules have more than {FILE_LIMIT} bytes.")
    try:
        return msgspec.json.decode(content, type=_File).rules
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(f"The session's access rules are not in this version's form: {error}") from error
