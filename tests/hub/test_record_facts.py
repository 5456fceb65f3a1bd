"""What the gateway says of its record's surroundings, and that it starts on no record older than its witness saw."""

import logging
from pathlib import Path

import pytest

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.recovery import read_verifier
from jupyter_hpcsec.audit.witness import Witness
from jupyter_hpcsec.config import GatewaySettings, HpcsecGateway
from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.hub.gateway_service import open_record
from jupyter_hpcsec.hub.record_facts import facts
from tests.audit.records import Place

LOG = logging.getLogger("test")


def settings(place: Place, **more: object) -> GatewaySettings:
    return HpcsecGateway(
        public_endpoints=["localhost:1"],
        trust_domain="test.example",
        state_directory=str(place.directory),
        audit_checkpoints=str(place.second),
        policy_file="/etc/hpcsec/policy.yaml",
        **more,
    ).settings()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "p")
    place.fill(300)
    return place


def witnessed(place: Place, tmp_path: Path) -> dict[str, object]:
    witness = Witness(tmp_path / "w", name="w", log=read_verifier(place.layout), clock=lambda: 1000.0)
    witness.look(lambda path, limit: files.read(place.layout.log / path, limit))
    witness.close()
    return {"audit_witness": str(witness.key), "audit_cosigned": str(witness.cosigned)}


def test_facts(place: Place, tmp_path: Path) -> None:
    key = read_verifier(place.layout)
    found = facts(settings(place, audit_retention_days=10), key)
    assert found["witness"] is None
    assert found["is_apart"] is False
    assert found["free_bytes"] > 0
    assert (found["retention_days"], found["values_days"]) == (10, 0)
    known = witnessed(place, tmp_path)
    assert facts(settings(place, **known), key)["witness"] == {"size": 302, "time": 1000}
    (tmp_path / "w" / "cosigned").unlink()
    assert "cosigned" in facts(settings(place, **known), key)["witness"]["error"]
    place.second.unlink()
    assert facts(settings(place), key)["is_apart"] is None


def test_the_gateway_starts_on_no_record_that_is_older_than_its_witness_saw(place: Place, tmp_path: Path) -> None:
    old = place.copy(tmp_path / "old")
    place.fill(1)
    known = witnessed(place, tmp_path)
    with pytest.raises(Refused, match="rolled back"):
        open_record(settings(old, **known), LOG)
    open_record(settings(place, **known), LOG).close()
    (tmp_path / "w" / "cosigned").write_bytes(b"?")
    open_record(settings(place, **known), LOG).close()  # it is warned of, and by the doctor


def test_a_new_record_has_no_witness_yet(tmp_path: Path, place: Place) -> None:
    known = witnessed(place, tmp_path)
    open_record(settings(Place(tmp_path / "new"), **known), LOG).close()
