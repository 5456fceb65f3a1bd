"""Resource profiles: what an administrator offers, and the check of what a user asks for.

Pure. ``user_options`` reach the hub as arbitrary JSON (``POST /hub/api/users/NAME/server``), as a form, as a query and,
from an earlier start, from the database: all four pass ``choose`` and nothing of them goes further than the numbers and
the profile's name that it returns. What ends up in a job script is an integer, or text that the administrator wrote.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from jupyter_hpcsec.errors import Malformed, Refused

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+&|*-]{0,63}")
"""A partition, account, constraint or the like, as it may stand in a directive of a batch script."""
NUMBERS = {"cpus": 100_000, "memory_gib": 1_000_000, "gpus": 1_000, "minutes": 1_000_000}
"""What users may choose, and more than any cluster has of it."""
TITLES = {"cpus": "CPU cores", "memory_gib": "Memory (GiB)", "gpus": "GPUs", "minutes": "Time (minutes)"}
WORDS = ("partition", "account", "qos", "reservation", "constraint", "gpu_type")
TEXTS = ("title", "description")
OPTIONS = frozenset({"profile", "project", *NUMBERS})
"""What users may send; ``project`` is checked by ``projectchoice`` and decided by the gateway."""


@dataclass(frozen=True)
class Range:
    """Integers from ``minimum`` to ``maximum``, both included; equal ones are a fixed value."""

    minimum: int
    maximum: int
    default: int

    @property
    def is_fixed(self) -> bool:
        """Whether there is nothing to choose."""
        return self.minimum == self.maximum


@dataclass(frozen=True)
class Profile:
    """One entry of the list on the spawn page. Empty words are left out of the job script."""

    name: str
    title: str
    cpus: Range
    memory_gib: Range
    minutes: Range
    gpus: Range = Range(0, 0, 0)
    description: str = ""
    partition: str = ""
    account: str = ""
    qos: str = ""
    reservation: str = ""
    constraint: str = ""
    gpu_type: str = ""
    groups: frozenset[str] = frozenset()
    """JupyterHub groups that may see and use it; empty: everybody."""


@dataclass(frozen=True)
class Choice:
    """What a user asked for, checked: one profile and four integers within its ranges."""

    profile: Profile
    cpus: int
    memory_gib: int
    gpus: int
    minutes: int

    def variables(self) -> dict[str, str | int]:
        """Template variables, ours and under the names that batchspawner's own templates use."""
        profile = self.profile
        gpu = f"gpu:{profile.gpu_type}:{self.gpus}" if profile.gpu_type else f"gpu:{self.gpus}"
        return {
            **{word: getattr(profile, word) for word in WORDS},
            "cpus": self.cpus,
            "memory_gib": self.memory_gib,
            "gpus": self.gpus,
            "minutes": self.minutes,
            "queue": profile.partition,
            "nprocs": str(self.cpus),
            "memory": f"{self.memory_gib}G",
            "ngpus": str(self.gpus) if self.gpus else "",
            "gres": gpu if self.gpus else "",
            "runtime": f"{self.minutes // 60}:{self.minutes % 60:02d}:00",
        }


def parse_profiles(entries: Sequence[Any]) -> tuple[Profile, ...]:
    """The administrator's list. Raises ``Malformed`` that names the profile, the key and the fix."""
    profiles = tuple(_profile(entry, index) for index, entry in enumerate(entries))
    names = [profile.name for profile in profiles]
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise Malformed(f"profiles: the name {doubles[0]!r} stands there twice; give each profile a name of its own.")
    return profiles


def _profile(entry: Any, index: int) -> Profile:
    if not isinstance(entry, Mapping):
        raise Malformed(f"profiles[{index}] must be a dictionary such as {{'name': 'small', 'cpus': 2, ...}}.")
    name = entry.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise Malformed(f"profiles[{index}]: 'name' must be lower-case letters, digits, '-' and '_', at most 32.")
    where = f"profile {name!r}"
    unknown = sorted(str(key) for key in entry if key not in {field.name for field in fields(Profile)})
    if unknown:
        raise Malformed(f"{where}: there is no setting {unknown[0]!r}; check its spelling.")
    missing = sorted({"title", "cpus", "memory_gib", "minutes"} - set(entry))
    if missing:
        raise Malformed(f"{where}: {missing[0]!r} is missing.")
    values: dict[str, Any] = {"name": name, "groups": _groups(entry.get("groups", ()), where)}
    values |= {key: _text(entry[key], f"{where}: {key!r}") for key in TEXTS if key in entry}
    values |= {key: _setting_word(entry[key], f"{where}: {key!r}") for key in WORDS if key in entry}
    values |= {key: _range(entry[key], key, f"{where}: {key!r}") for key in NUMBERS if key in entry}
    return Profile(**values)


def _groups(value: Any, where: str) -> frozenset[str]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise Malformed(f"{where}: 'groups' must be a list of JupyterHub group names.")
    groups = frozenset(value)
    if not all(isinstance(group, str) and group for group in groups):
        raise Malformed(f"{where}: 'groups' must be a list of JupyterHub group names.")
    return groups


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.isprintable() or len(value) > 400:
        raise Malformed(f"{where} must be one line of text of at most 400 characters.")
    return value


def _setting_word(value: Any, where: str) -> str:
    if value == "":
        return ""
    if not isinstance(value, str) or not WORD.fullmatch(value):
        raise Malformed(f"{where} must be one word of letters, digits and _ . : + & | * - (at most 64).")
    return value


def _range(value: Any, key: str, where: str) -> Range:
    ceiling = NUMBERS[key]
    floor = 0 if key == "gpus" else 1
    if _is_integer(value):
        value = {"min": value, "max": value, "default": value}
    if not isinstance(value, Mapping) or set(value) != {"min", "max", "default"}:
        raise Malformed(f"{where} must be a number, or {{'min': ..., 'max': ..., 'default': ...}}.")
    low, high, default = value["min"], value["max"], value["default"]
    if not all(map(_is_integer, (low, high, default))) or not floor <= low <= default <= high <= ceiling:
        raise Malformed(f"{where}: whole numbers with {floor} <= min <= default <= max <= {ceiling} are needed.")
    return Range(low, high, default)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def visible(profiles: Sequence[Profile], groups: frozenset[str]) -> tuple[Profile, ...]:
    """The profiles that a member of these JupyterHub groups is offered."""
    return tuple(profile for profile in profiles if not profile.groups or profile.groups & groups)


def choose(profiles: Sequence[Profile], options: Any, groups: frozenset[str]) -> Choice | None:
    """Check what a user asked for; ``None`` when the hub offers no profiles and nothing was asked for.

    1. It is a dictionary of at most as many entries as there are options.
    2. Every key is an option that exists.
    3. The profile is one that this user is offered; the first of those when none is named.
    4. Every number is an integer within that profile's range.

    Raises ``Refused("options.…")``; nothing of ``options`` was used then.
    """
    if not isinstance(options, Mapping) or len(options) > len(OPTIONS):  # 1
        raise Refused("options.shape", 'The server\'s options must be one JSON object such as {"profile": "small"}.')
    for key in options:  # 2
        if key not in OPTIONS:
            raise Refused("options.unknown", f"There is no option {key!r}; there are: {', '.join(sorted(OPTIONS))}.")
    offered = visible(profiles, groups)
    if not offered:  # 3
        if profiles or set(options) - {"project"}:
            raise Refused("options.profile", "No resources are offered to you here; ask your administrators.")
        return None
    profile = _chosen(offered, options.get("profile", offered[0].name))
    numbers = {key: _number(options, key, getattr(profile, key)) for key in NUMBERS}  # 4
    return Choice(profile, **numbers)


def _chosen(offered: Sequence[Profile], name: Any) -> Profile:
    for profile in offered:
        if isinstance(name, str) and profile.name == name:
            return profile
    raise Refused("options.profile", f"There is no such profile; choose one of: {', '.join(p.name for p in offered)}.")


def _number(options: Mapping[str, Any], key: str, allowed: Range) -> int:
    value = options.get(key, allowed.default)
    if not _is_integer(value):
        raise Refused("options.type", f"{TITLES[key]} must be a whole number.")
    if not allowed.minimum <= value <= allowed.maximum:
        span = f"{allowed.minimum}" if allowed.is_fixed else f"from {allowed.minimum} to {allowed.maximum}"
        raise Refused("options.range", f"{TITLES[key]} must be {span} in this profile.")
    return int(value)
