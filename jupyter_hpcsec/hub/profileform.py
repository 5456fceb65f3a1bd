"""The form of the spawn page: profiles to HTML, and what the browser posts back to options.

Server-rendered, needs nothing from another host, and works without its script. It checks only what a form can get
wrong (text that is no number); what is allowed is decided by ``profiles.choose`` alone, for forms and for JSON alike.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, StrictUndefined

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.hub.profiles import NAME, NUMBERS, TITLES, Profile, Range
from jupyter_hpcsec.hub.projectchoice import OPTION

DIGITS = re.compile(r"[0-9]{1,9}")
IGNORED = frozenset({"_xsrf"})
"""Fields that JupyterHub itself adds to a form."""
WORDS = {"cpus": "CPU core", "memory_gib": "GiB of memory", "gpus": "GPU", "minutes": "minute"}
COUNTED = frozenset({"cpus", "gpus", "minutes"})
"""Those whose word has a plural."""

# The script keeps the browser from checking (and from refusing in silence) the hidden numbers of a profile that is not
# chosen; JupyterHub's own page has inline scripts and styles, so that no policy of a site can forbid just these.
FORM = """\
<style>
.hpcsec-profile:has(input[type=radio]:not(:checked)) .hpcsec-numbers { display: none }
.hpcsec-profile:has(input[type=radio]:checked) { border-color: var(--bs-primary) }
.hpcsec-profile input[type=radio] { border-color: var(--bs-secondary-color) }
.hpcsec-profile .card-header label { flex: 1; cursor: pointer }
</style>
<fieldset id="hpcsec-profiles">
  <legend class="fs-5">What your session gets</legend>
{% for profile in profiles %}
{% set id = "hpcsec-" ~ profile.name %}
  <div class="card mb-3 hpcsec-profile">
    <div class="card-header d-flex gap-2">
      <input type="radio" class="form-check-input" id="{{ id }}" name="profile" value="{{ profile.name }}" required
        {%- if profile.name == chosen %} checked{% endif %} aria-describedby="{{ id }}-about">
      <label class="fw-bold" for="{{ id }}">{{ profile.title }}</label>
    </div>
    <div class="card-body">
      <p class="mb-0" id="{{ id }}-about">{% if profile.description %}{{ profile.description }}<br>{% endif %}
        <small class="text-body-secondary">{{ about[profile.name] }}</small></p>
      <div class="row g-3 mt-0 hpcsec-numbers">
{% for key, title in titles.items() if not profile[key].is_fixed %}
{% set value = given.get(key, profile[key].default) if profile.name == chosen else profile[key].default %}
{% set wrong = not profile[key].minimum <= value <= profile[key].maximum %}
        <div class="col-6 col-sm-3">
          <label class="form-label mb-1" for="{{ id }}-{{ key }}">{{ title }}</label>
          <input type="number" class="form-control{% if wrong %} is-invalid{% endif %}" id="{{ id }}-{{ key }}"
            name="{{ key }}.{{ profile.name }}" min="{{ profile[key].minimum }}" max="{{ profile[key].maximum }}"
            value="{{ value }}" step="1" required{% if wrong %} aria-invalid="true"{% endif %}
            aria-describedby="{{ id }}-{{ key }}-range">
          <small class="form-text" id="{{ id }}-{{ key }}-range">{{ span(key, profile[key]) }}</small>
        </div>
{% endfor %}
      </div>
    </div>
  </div>
{% endfor %}
</fieldset>
<script>
(() => {
  const form = document.getElementById("hpcsec-profiles");
  const update = () => form.querySelectorAll(".hpcsec-profile").forEach((profile) => {
    const off = !profile.querySelector("input[type=radio]").checked;
    profile.querySelectorAll("input[type=number]").forEach((input) => { input.disabled = off; });
  });
  form.addEventListener("change", update);
  form.addEventListener("input", ({ target }) => {
    target.classList.remove("is-invalid");
    target.removeAttribute("aria-invalid");
  });
  window.addEventListener("pageshow", update);
  update();
})();
</script>
"""
_TEMPLATE = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
    FORM
)


def render_form(profiles: Sequence[Profile], last: object = None) -> str:
    """The HTML inside JupyterHub's own ``<form>``; empty when there is nothing to choose from.

    ``last`` are the options of the latest start or attempt, as the hub's database has them: any JSON. What of them
    could have been typed into the form is shown again, wrong numbers marked.
    """
    if not profiles:
        return ""
    options = last if isinstance(last, Mapping) else {}
    names = [profile.name for profile in profiles]
    return _TEMPLATE.render(
        profiles=profiles,
        titles=TITLES,
        about={profile.name: _about(profile) for profile in profiles},
        span=_span,
        chosen=options["profile"] if options.get("profile") in names else names[0],
        given={key: options[key] for key in NUMBERS if _is_typed(options.get(key))},
    )


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
