"""Sphinx configuration. ``sphinx-build -W --keep-going -n docs docs/_build/html`` must pass: warnings are errors."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from jupyter_hpcsec import __version__

project = "jupyter_hpcsec"
author = "The jupyter_hpcsec developers"
copyright = "2026, the jupyter_hpcsec developers"
version = release = __version__

extensions = ["myst_parser", "sphinxarg.ext"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
myst_ref_domains = ["std"]
nitpicky = True

html_theme = "furo"
html_title = f"jupyter_hpcsec {version}"
