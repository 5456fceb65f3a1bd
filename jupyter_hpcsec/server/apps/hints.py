"""Where programs learn that their pages are reached by the app proxy: variables that each of them reads by itself."""

from collections.abc import MutableMapping
from pathlib import Path

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.server.apps.address import link
from jupyter_hpcsec.server.apps.ports import NET, is_private


def hints(base_url: str) -> dict[str, str]:
    """Variables for kernels and terminals; ``base_url`` is the path of the user's server, with a slash at both ends.

    Sources: Dask's configuration ``distributed.dashboard.link``; TensorBoard's ``notebook.py``; Spark's
    ``spark-env.sh.template``.
    """
    return {
        "DASK_DISTRIBUTED__DASHBOARD__LINK": f"{link(base_url, '{port}')}status",
        "TENSORBOARD_PROXY_URL": link(base_url, "%PORT%"),
        "SPARK_LOCAL_IP": "127.0.0.1",  # the node's own name leads to an address that this network does not have
    }


def give_hints(environment: MutableMapping[str, str], base_url: str, net: Path = NET) -> None:
    """Add the hints in a session with a network of its own; what the user set stays."""
    try:
        private = is_private(net)
    except Unavailable:
        return  # then there are no apps either, and the handlers say why
    if private:
        for name, value in hints(base_url).items():
            environment.setdefault(name, value)
