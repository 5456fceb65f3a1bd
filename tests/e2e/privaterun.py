"""``hpcsec quickstart`` under a policy that gives each session a network of its own, which its own does not."""

import sys
from collections.abc import Sequence

from jupyter_hpcsec.cli.main import main
from jupyter_hpcsec.ops import quickstart
from jupyter_hpcsec.ops.demo_policy import demo_policy


def private_policy(abi: int) -> str:
    """The quickstart's policy, but for the network."""
    text = demo_policy(abi)
    changed = text.replace("{bind: none, connect: [hub, 80, 443]}", "{bind: private}")
    if changed == text:
        raise AssertionError("BUG: the quickstart's policy has another form")
    return changed


def run(arguments: Sequence[str]) -> int:
    quickstart.demo_policy = private_policy
    return main(list(arguments))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
