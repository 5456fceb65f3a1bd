"""What of sessions' work is recorded: only what is known, and a proxy's address is one."""

import pytest
from traitlets import TraitError

from jupyter_hpcsec.config import HpcsecGateway
from jupyter_hpcsec.config_recording import RecordingSettings


@pytest.mark.parametrize(
    "setting",
    [
        {"recording": "everything"},
        {"recording_by_group": {"g": "nothing"}},
        {"recording_output_limit": 1},
        {"trusted_proxies": ["nonsense"]},
        {"trusted_proxies": ["10.0.0.1/8"]},
    ],
    ids=str,
)
def test_what_is_not_known_is_refused(setting: dict[str, object]) -> None:
    with pytest.raises(TraitError):
        HpcsecGateway(**setting)


def test_settings_become_values() -> None:
    made = HpcsecGateway(
        public_endpoints=["h:1"],
        recording="metadata",
        recording_by_group={"b": "sources", "a": "sources+outputs"},
        redaction_patterns=["x"],
        unsafe_record_secrets=True,
        trusted_proxies=["10.0.0.0/8", "::1"],
        proxy_adds_forwarded_for=False,
    ).settings()
    assert made.recording == RecordingSettings(
        level="metadata",
        by_group=(("a", "sources+outputs"), ("b", "sources")),
        patterns=("x",),
        knows_secrets=False,
    )
    assert made.trusted_proxies == ("10.0.0.0/8", "::1") and not made.is_forwarded
    assert HpcsecGateway(public_endpoints=["h:1"]).settings().recording == RecordingSettings()
