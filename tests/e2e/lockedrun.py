"""``hpcsec quickstart`` under a policy that closes one directory of the home, and lets another be read only."""

import sys
from collections.abc import Sequence

from jupyter_hpcsec.cli.main import main
from jupyter_hpcsec.ops import quickstart
from jupyter_hpcsec.ops.demo_policy import demo_policy
from jupyter_hpcsec.ops.quickstart import Demo, Plan

CONTACT = "the data desk (desk@site.example)"
REQUIRED = '    required: ["{home}"]\n'
RULES = f"""{REQUIRED}\
    deny: ["{{home}}/closed"]
  - who: "*"
    allow: {{read: ["{{home}}/reference"]}}
"""


class LockedDemo(Demo):
    """A demo whose home has these directories, with something in them."""

    def _write_files(self, plan: Plan) -> None:
        super()._write_files(plan)
        home = plan.state / "home"
        for name in ("closed", "reference"):
            (home / name).mkdir()
            (home / name / f"{name}.ipynb").write_bytes((home / "eda.ipynb").read_bytes())


def locked_policy(abi: int) -> str:
    """The quickstart's policy with two more rules, and with someone to ask."""
    text = demo_policy(abi)
    changed = text.replace(REQUIRED, RULES).replace("defaults:\n", f'defaults:\n  contact: "{CONTACT}"\n')
    if "closed" not in changed or CONTACT not in changed:
        raise AssertionError("BUG: the quickstart's policy has another form")
    return changed


def run(arguments: Sequence[str]) -> int:
    quickstart.demo_policy = locked_policy
    quickstart.Demo = LockedDemo  # type: ignore[misc]
    return main(list(arguments))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
