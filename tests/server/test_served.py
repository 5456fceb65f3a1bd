"""JupyterLab says in its user's language what the server says in English: its words must be the server's own."""

from pathlib import Path

import pytest

from jupyter_hpcsec.access.values import Bind
from jupyter_hpcsec.audit.tap.recording import Level, Recording
from jupyter_hpcsec.hub.recordings import Recordings
from jupyter_hpcsec.server import access_facts, live

WORDS = (Path(__file__).parents[2] / "labextension" / "src" / "served.ts").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", live.RECORDED)
def test_what_is_recorded_has_its_code_and_its_words(code: str) -> None:
    assert f"case '{code}':" in WORDS and live.RECORDED[code] in WORDS


@pytest.mark.parametrize("bind", Bind)
def test_the_network_has_its_words(bind: Bind) -> None:
    assert f"case '{bind}':" in WORDS and access_facts.BINDS[bind] in WORDS


def test_so_has_what_a_site_may_choose_to_record() -> None:
    recording = Recording(Level.OUTPUTS, output_limit=77_777, hashes_files=True)
    told = Recordings(recording, {}).told(())
    assert told["level"] == "sources+outputs" and told["output_limit"] == "77777" and told["hashes_files"] == "yes"
    for sentence in told["text"].replace("77777", "%1").rstrip(".").split(". "):
        assert sentence in WORDS
