"""Build hook: puts the jupyter_server configuration that enables the extension, and the example, into the wheel.

All metadata is in ``pyproject.toml``; ``data_files`` is the one thing that setuptools reads only here.
"""

from setuptools import setup

setup(
    data_files=[
        (
            "etc/jupyter/jupyter_server_config.d",
            ["jupyter_hpcsec/server/jupyter_server_config.d/jupyter_hpcsec.json"],
        ),
        ("share/jupyter-hpcsec/examples", ["examples/eda.ipynb"]),
    ]
)
