"""Policies for tests: written as YAML, as an administrator would."""

from pathlib import Path

HOMES = '- {who: "*", allow: {write: ["{home}"]}}\n'
NOBODY = '- {who: "user:nobody-of-that-name", allow: {read: ["/opt/nothing"]}}\n'


def write_policy(path: Path, rules: str = HOMES, *, defaults: str = "", tests: str = "") -> Path:
    """Put a policy in place in one step; ``rules``, ``defaults`` and ``tests`` are YAML."""
    text = f"version: 1\ndefaults: {{{defaults}}}\nrules:\n" if defaults else "version: 1\nrules:\n"
    text += "".join(f"  {line}\n" for line in rules.strip().splitlines())
    fresh = path.with_suffix(".new")
    fresh.write_text(text + (f"tests:\n  {tests}\n" if tests else ""))
    fresh.chmod(0o644)
    return fresh.replace(path)
