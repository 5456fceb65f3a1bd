"""The form of the spawn page: profiles to HTML, and what the browser posts back to options.

Server-rendered, needs no script and nothing from another host. It checks only what a form can get wrong (text that is
no number); what is allowed is decided by ``profiles.choose`` alone, for forms and for JSON alike.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, StrictUndefined

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.hub.profiles import NAME, NUMBERS, TITLES, Profile

DIGITS = re.compile(r"[0-9]{1,9}")
IGNORED = frozenset({"_xsrf"})
"""Fields that JupyterHub itself adds to a form."""

FORM = """\
<style>
.hpcsec-profile { border: 1px solid #8888; border-radius: .4em; padding: .8em 1em; margin-bottom: .8em }
.hpcsec-profile legend { float: none; width: auto; font-size: 1em; padding: 0 .4em; margin: 0 }
.hpcsec-numbers { display: flex; flex-wrap: wrap; gap: .5em 1.5em }
.hpcsec-numbers input { max-width: 9em }
.hpcsec-profile:has(> legend input:not(:checked)) .hpcsec-numbers { display: none }
</style>
{% for profile in profiles %}
<fieldset class="hpcsec-profile">
  <legend><label><input type="radio" name="profile" value="{{ profile.name }}" required
    {%- if loop.first %} checked{% endif %}> {{ profile.title }}</label></legend>
  {% if profile.description %}<p>{{ profile.description }}</p>{% endif %}
  <div class="hpcsec-numbers">
  {% for key, title in titles.items() if not profile[key].is_fixed %}
    <div>
      <label for="hpcsec-{{ profile.name }}-{{ key }}">{{ title }}</label>
      <input type="number" class="form-control" id="hpcsec-{{ profile.name }}-{{ key }}" name="{{ key }}.{{ profile.name
      }}" min="{{ profile[key].minimum }}" max="{{ profile[key].maximum }}" value="{{ profile[key].default }}" step="1"
      required aria-describedby="hpcsec-{{ profile.name }}-{{ key }}-range"> <small id="hpcsec-{{ profile.name }}-{{ key
      }}-range">{{ profile[key].minimum }} to {{ profile[key].maximum }}</small> </div> {% endfor %} </div> </fieldset>
      {% endfor %}
"""
_TEMPLATE = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
    FORM
)


def render_form(profiles: Sequence[Profile]) -> str:
    """The HTML inside JupyterHub's own ``<form>``; empty when there is nothing to choose from."""
    return _TEMPLATE.render(profiles=profiles, titles=TITLES) if profiles else ""


def options_from_form(form: Mapping[str, Sequence[Any]]) -> dict[str, str | int]:
    """``user_options`` from form fields, each a list of strings as tornado gives them.

    Numbers arrive as ``cpus.PROFILE``, once for each profile on the page; those of the chosen profile count. A plain
    ``cpus`` is taken too, for links such as ``/hub/spawn?opt-profile=small&opt-cpus=2``. An unknown field is refused.
    """
    options: dict[str, str | int] = {}
    given = {key: _single(key, values) for key, values in form.items() if key not in IGNORED}
    profile = given.pop("profile", "")
    if profile:
        options["profile"] = profile
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
