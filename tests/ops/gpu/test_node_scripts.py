"""``hub_config/gpu_prolog.sh`` and ``gpu_epilog.sh``: what they call exists, and which codes slurmd gets to see."""

import shlex
import subprocess
from pathlib import Path

import pytest

from jupyter_hpcsec.cli.main import build_parser

FILES = Path(__file__).parents[3] / "hub_config"
PYTHON, LOGGER = "/opt/jupyter/bin/python3", "/usr/bin/logger"


@pytest.mark.parametrize("when", ["prolog", "epilog"])
def test_what_they_call_exists(when: str) -> None:
    line = next(line for line in (FILES / f"gpu_{when}.sh").read_text().splitlines() if line.startswith("said=$("))
    words = shlex.split(line.removeprefix("said=$(").removesuffix(" 2>&1)"))
    assert words[:4] == [PYTHON, "-I", "-m", "jupyter_hpcsec.cli.main"]
    args = build_parser("gpu").parse_args(words[4:])
    assert args.action == "node" and args.when == when


@pytest.mark.parametrize(
    ("when", "codes"),
    [("prolog", {0: 0, 1: 1, 2: 2, 137: 137}), ("epilog", {0: 0, 3: 0, 4: 0, 1: 1, 2: 2, 127: 127, 137: 137})],
)
def test_what_slurmd_is_told(when: str, codes: dict[int, int], tmp_path: Path) -> None:
    text = (FILES / f"gpu_{when}.sh").read_text()
    for path, body in ((PYTHON, "echo found >&2; exit $CODE"), (LOGGER, f'echo "$@" >{tmp_path}/log')):
        assert path in text
        stub = tmp_path / Path(path).name
        stub.write_text(f"#!/bin/sh\n{body}\n")
        stub.chmod(0o755)
        text = text.replace(path, str(stub))
    script = tmp_path / "script"
    script.write_text(text)
    for code, told in codes.items():
        # slurmd sets no search path
        done = subprocess.run(["/bin/sh", str(script)], env={"CODE": str(code)}, check=False)
        assert done.returncode == told
        assert (tmp_path / "log").read_text() == "-t hpcsec-gpu -- found\n"
