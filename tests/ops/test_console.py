"""Lines for people; a terminal that is gone stops nothing."""

import io
import os

import pytest

from jupyter_hpcsec.ops.console import Console
from jupyter_hpcsec.ops.protections import as_facts, as_lines, protections


def test_a_closed_terminal_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as broken:
        Console(broken).say("hub", "starts")
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)
    closed = io.StringIO()
    closed.close()
    Console(closed).say("hub", "starts")


def test_a_line_says_when_which_part_and_what() -> None:
    out = io.StringIO()
    Console(out, iter([100.0, 101.25]).__next__).say("hub", "starts")
    assert out.getvalue().split() == ["1.2", "s", "hub", "starts"]


@pytest.mark.parametrize(("slurm", "root"), [(False, False), (False, True), (True, True)])
def test_each_protection_is_said_once_and_the_demo_hides_nothing(slurm: bool, root: bool) -> None:
    found = protections(slurm=slurm, root=root, namespaces=True, abi=7)
    facts = as_facts(found)
    assert len({one.name for one in found}) == len(found) == len(facts["on"]) + len(facts["off"])
    assert {"browser-tls", "durable-state"} <= facts["off"].keys()
    assert ("unprivileged" in facts["on"]) == (not root)
    assert ("attestation" in facts["on"]) == slurm == ("separate-users" in facts["on"])
    lines = as_lines(found)
    assert sum("OFF" in line for line in lines) == len(facts["off"]) and len(lines) == len(found)
