"""What the agent wrote down about the user's rules (``hub.session_files``), read and put into plain words. Pure but for
the reading; it informs, and what is enforced does not depend on it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from jupyter_hpcsec.access.values import SIZE_LIMIT, Bind, Enforcement, Entry, Resolved, Right
from jupyter_hpcsec.errors import Malformed, Unavailable
from jupyter_hpcsec.server.facts import SESSION_VARIABLE

ACCESS_FILE, STALE_FILE = "access.json", "stale.json"
"""Beside the file that ``SESSION_VARIABLE`` names."""
FILE_LIMIT = 2 * SIZE_LIMIT

RIGHTS = {
    Right.WRITE: "You may read and change {path}",
    Right.READ: "You may read {path}",
    Right.NONE: "You may not see {path}",
}
BINDS = {
    Bind.NONE: "Nothing of this session may listen on the network.",
    Bind.PRIVATE: "What this session opens can be reached in this session only, in a network of its own.",
    Bind.UNSAFE_UDP: "Nothing of this session may listen on the network, but UDP is not restricted.",
    Bind.UNSAFE_ALLOW: "What this session opens on the network can be reached by others on the cluster.",
}


def read_access(environment: Mapping[str, str]) -> dict[str, Any] | None:
    """Everything that the panel shows; None outside of a session. ``Unavailable`` or ``Malformed`` when that fails.

    ``rules`` are the user's own entries and the network, ``words`` the same as sentences, ``receipt`` what is enforced,
    ``stale`` until when the session goes on under rules that have changed, or None.
    """
    path = environment.get(SESSION_VARIABLE)
    if not path:
        return None
    directory = Path(path).parent
    facts = _object(_read(directory / ACCESS_FILE) or b"")
    try:
        rules = msgspec.convert(facts["rules"], Resolved)
        digest, receipt = str(facts["digest"]), dict(facts["receipt"])
    except (KeyError, TypeError, ValueError) as error:  # msgspec's own is a ValueError
        raise Malformed("The session's rules are not in the form that this version of hpcsec writes.") from error
    return {
        "rules": msgspec.to_builtins(rules),
        "digest": digest,
        "words": in_words(rules),
        "receipt": receipt,
        "stale": read_stale(environment),
    }


def read_stale(environment: Mapping[str, str]) -> dict[str, Any] | None:
    """``since`` and ``ends_at`` in Unix seconds, and the ``reason``, a sentence; None while the rules are the same.

    ``Unavailable`` or ``Malformed`` as for ``read_access``.
    """
    path = environment.get(SESSION_VARIABLE)
    content = _read(Path(path).parent / STALE_FILE) if path else None
    if not content:
        return None
    found = _object(content)
    try:
        return {"since": int(found["since"]), "ends_at": int(found["ends_at"]), "reason": str(found["reason"])}
    except (KeyError, TypeError, ValueError) as error:
        raise Malformed("What the agent says of changed rules is not in this version's form.") from error


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_LIMIT + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"The session's rules can't be read from {path}: {error.strerror}.") from error
    if len(content) > FILE_LIMIT:
        raise Malformed(f"The session's rules have more than {FILE_LIMIT} bytes.")
    return content


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Malformed("The session's rules are no JSON.") from error
    if not isinstance(found, dict):
        raise Malformed("The session's rules are no JSON object.")
    return found


def in_words(rules: Resolved) -> list[str]:
    """One sentence for each rule, the network and whom to ask; what is not enforced comes first."""
    words = []
    if not rules.policy:
        words.append("There is no access policy here: you may read and change whatever your account may.")
    elif rules.enforcement is Enforcement.ADVISORY:
        words.append("The rules for files are shown here and NOT enforced.")
    if rules.policy:
        words += [_entry(entry) for entry in sorted(rules.entries, key=lambda entry: (entry.path, entry.right))]
        words.append("Everything else is not there for this session, but for what its software needs.")
    words.append(BINDS[rules.network.bind])
    if rules.policy and rules.network.bind is not Bind.PRIVATE:
        ports = ", ".join(str(port) for port in rules.network.connect)
        words.append(f"It may connect to TCP ports {ports}." if ports else "It may connect to nothing but the hub.")
    if rules.contact:
        words.append(f"Ask {rules.contact} for access.")
    return words


def _entry(entry: Entry) -> str:
    return f"{RIGHTS[entry.right].format(path=entry.path)} (rule {entry.rule}, line {entry.line}, for {entry.who})."
