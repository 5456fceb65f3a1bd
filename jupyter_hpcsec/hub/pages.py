"""Where the pages are that replace JupyterHub's own: for ``JupyterHub.template_paths``."""

from pathlib import Path

TEMPLATES = str(Path(__file__).parent / "templates")
"""Holds ``503.html``, for a session that can't be reached."""
