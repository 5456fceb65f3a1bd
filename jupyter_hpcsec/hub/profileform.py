"""The form of the spawn page: profiles to HTML, and what the browser posts back to options.

Server-rendered, needs nothing from another host, and works without its script. It checks only what a form can get
wrong (text that is no number); what is allowed is decided by ``profiles.choose`` alone, for forms and for JSON alike.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.hub.profiles import NAME, NUMBERS, TITLES, Profile, Range
from jupyter_hpcsec.hub.projectchoice import OPTION, WITHOUT_PROJECTS, Offer

DIGITS = re.compile(r"[0-9]{1,9}")
IGNORED = frozenset({"_xsrf"})
"""Fields that JupyterHub itself adds to a form."""
WORDS = {"cpus": "CPU core", "memory_gib": "GiB of memory", "gpus": "GPU", "minutes": "minute"}
COUNTED = frozenset({"cpus", "gpus", "minutes"})
"""Those whose word has a plural."""

_TEMPLATE = Environment(
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    loader=PackageLoader("jupyter_hpcsec.hub", "templates"),
).get_template("spawnform.html")
NO_PROJECT = ""
"""The value of the choice that a session belongs to no project, where that may be."""


def render_form(
    profiles: Sequence[Profile],
    last: object = None,
    *,
    offer: Offer | None = WITHOUT_PROJECTS,
    estimates: Mapping[str, str] | None = None,
) -> str:
    """The HTML inside JupyterHub's own ``<form>``; empty when there is nothing to choose from, nor to be told first.

    ``last`` are the options of the latest start or attempt, as the hub's database has them: any JSON. What of them
    could have been typed into the form is shown again, wrong numbers marked. ``offer``: the user's projects; ``None``
    where the gateway does not say. ``estimates``: by profile's name, when a job of it would start.
    """
    if not profiles and not _has_question(offer):
        return ""
    options = last if isinstance(last, Mapping) else {}
    names = [profile.name for profile in profiles]
    return _TEMPLATE.render(
        profiles=profiles,
        titles=TITLES,
        about={profile.name: _about(profile) for profile in profiles},
        span=_span,
        chosen=options["profile"] if options.get("profile") in names else (names or [""])[0],
        given={key: options[key] for key in NUMBERS if _is_typed(options.get(key))},
        offer=offer,
        project=_preselected(offer, options.get(OPTION)),
        estimates=estimates or {},
    )


def _has_question(offer: Offer | None) -> bool:
    """Whether projects alone are worth a page: several to choose from, none that is open, a review that is near."""
    if offer is None or offer.mode == "off":
        return False
    if offer.mode == "optional":
        return bool(offer.projects)
    return len(offer.projects) != 1 or not offer.open or bool(offer.open[0].warning)


def _preselected(offer: Offer | None, last: object) -> str | None:
    """The project of the latest start, or the only one that is open; ``None`` where it has to be chosen."""
    open_now = [each.id for each in offer.open] if offer else []
    if last in open_now:
        return str(last)
    if len(open_now) == 1:
        return open_now[0]
    return NO_PROJECT if offer and offer.mode == "optional" else None


def _is_typed(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9


def _about(profile: Profile) -> str:
    """What a profile gives that is not asked for, such as ``64 GiB of memory · 1 hour · partition gpu``."""
    parts = []
    for key, word in WORDS.items():
        number = getattr(profile, key)
        if number.is_fixed and number.maximum:
            parts.append(_duration(number.maximum) if key == "minutes" else _count(key, number.maximum, word))
    parts += [f"{profile.gpu_type} GPUs"] if profile.gpu_type else []
    parts += [f"partition {profile.partition}"] if profile.partition else []
    return " · ".join(parts)


def _count(key: str, number: int, word: str) -> str:
    return f"{number} {word}{'s' if key in COUNTED and number != 1 else ''}"


def _duration(minutes: int) -> str:
    """Whole hours are called so."""
    if minutes % 60:
        return _count("minutes", minutes, WORDS["minutes"])
    return f"{minutes // 60} hour{'' if minutes == 60 else 's'}"


def _span(key: str, numbers: Range) -> str:
    """The range beside a field."""
    hours = f" ({numbers.maximum // 60} h)" if key == "minutes" and numbers.maximum % 60 == 0 else ""
    return f"{numbers.minimum} to {numbers.maximum}{hours}"


def options_from_form(form: Mapping[str, Sequence[Any]]) -> dict[str, str | int]:
    """``user_options`` from form fields, each a list of strings as tornado gives them.

    Numbers arrive as ``cpus.PROFILE``, perhaps of every profile on the page; those of the chosen profile count. A plain
    ``cpus`` is taken too, for links such as ``/hub/spawn?opt-profile=small&opt-cpus=2``. An unknown field is refused.
    """
    options: dict[str, str | int] = {}
    given = {key: _single(key, values) for key, values in form.items() if key not in IGNORED}
    profile, project = given.pop("profile", ""), given.pop(OPTION, "")
    if profile:
        options["profile"] = profile
    if project:
        options[OPTION] = project
    for field, text in given.items():
        key, dot, owner = field.partition(".")
        if key not in NUMBERS or (dot and not NAME.fullmatch(owner)):
            raise Refused("options.unknown", f"There is no option {field!r}.")
        if dot and owner != profile:
            continue
        if not DIGITS.fullmatch(text):
            raise Refused("options.type", f"{TITLES[key]} must be a whole number.")
        options[key] = int(text)
    return options


def _single(key: str, values: Sequence[Any]) -> str:
    if len(values) != 1 or not isinstance(values[0], str):
        raise Refused("options.shape", f"The option {key!r} must be given once, as text.")
    return values[0]
