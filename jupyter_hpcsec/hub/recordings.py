"""Which recording a session gets: the site's, or that of its user's groups. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from jupyter_hpcsec.audit.tap.recording import Level, Recording, secrets_pattern
from jupyter_hpcsec.config_recording import RecordingSettings

_ORDER = tuple(Level)


class Recordings:
    """The site's choice, and the groups that have one of their own."""

    def __init__(self, site: Recording, by_group: Mapping[str, Level]) -> None:
        self._site = site
        self._by_level = {level: replace(site, level=level) for level in Level}
        self._by_group = dict(by_group)

    def of(self, groups: Sequence[str]) -> Recording:
        """The fullest among those of a user's groups; the site's, where no group has one."""
        levels = [self._by_group[group] for group in groups if group in self._by_group]
        return self._by_level[max(levels, key=_ORDER.index)] if levels else self._site

    def told(self, groups: Sequence[str]) -> dict[str, str]:
        """What a user of these groups is told of it: ``text`` in sentences, and the values that those are made of."""
        recording = self.of(groups)
        return {
            "level": recording.level.value,
            "output_limit": str(recording.output_limit),
            "hashes_files": "yes" if recording.hashes_files else "no",
            "text": recording.sentence(),
        }

    def summary(self) -> dict[str, Any]:
        """For security staff: the site's level with its sentences, and those of groups that have their own."""
        groups = {group: self._by_level[level] for group, level in sorted(self._by_group.items())}
        told = {group: {"level": each.level.value, "text": each.sentence()} for group, each in groups.items()}
        return {**self.told(()), "groups": told}


def recordings(settings: RecordingSettings) -> Recordings:
    """By the configuration; ``Malformed`` names a pattern that can't be used."""
    site = Recording(
        level=Level(settings.level),
        output_limit=settings.output_limit,
        hashes_files=settings.hashes_files,
        secrets=secrets_pattern(settings.patterns, with_known=settings.knows_secrets),
    )
    return Recordings(site, {group: Level(level) for group, level in settings.by_group})
