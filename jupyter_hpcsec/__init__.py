"""A secure gateway for Jupyter data exploration on HPC clusters.

Follow one request from browser to kernel through the packages in this order:
``hub`` (who may start what, and where it is routed) -> ``tunnel.gateway`` -> ``tunnel.lane`` ->
``tunnel.agent`` -> ``server``. ``identity`` says who is who on the way.
"""

from jupyter_hpcsec._version import __version__

__all__ = ["__version__"]
