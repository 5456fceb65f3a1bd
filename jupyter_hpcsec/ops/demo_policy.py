"""The access policy of the quickstart: one home directory to write in, and nothing that not every kernel can hold.

It denies nothing inside what it allows, so that it needs no masks: it holds on computers without user namespaces, too.
"""

WANTED_ABI = 6
"""Landlock ABI that keeps signals and abstract sockets inside the session, too (Linux 6.12)."""
LEAST_ABI = 4
"""What a session needs to be kept from listening (Linux 6.7)."""

POLICY = """\
# The quickstart's access policy; docs/admins/access-policy.md explains the language.
version: 1
defaults:
  enforcement: required
  minimum_abi: {abi}
  network: {{bind: none, connect: [hub, 80, 443]}}
rules:
  - who: "*"
    allow: {{write: ["{{home}}"]}}
    required: ["{{home}}"]
tests:
  - {{user: someone, home: /home/someone, path: /home/someone/notebook.ipynb, may: write}}
  - {{user: someone, home: /home/someone, path: /home/someone-else/notebook.ipynb, may: none}}
  - {{user: someone, home: /home/someone, path: /etc/shadow, may: none}}
"""


def demo_policy(abi: int) -> str:
    """The policy for a computer that offers this Landlock ABI: as much of it as a session can have here."""
    return POLICY.format(abi=max(LEAST_ABI, min(WANTED_ABI, abi)))
