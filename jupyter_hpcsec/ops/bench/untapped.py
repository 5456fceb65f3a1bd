"""A gateway whose streams nobody follows, to compare with: ``python -I -m jupyter_hpcsec.ops.bench.untapped CONFIG``.

Not for anything else: what passes through it is not on record. It is no setting of the real one.
"""

import asyncio
import logging
import sys
from pathlib import Path

from jupyter_hpcsec.hub import gateway_service


def main(config: Path) -> None:
    """Serve until a signal ends it."""
    settings = gateway_service.load_settings(config)
    asyncio.run(gateway_service.serve(settings, logging.getLogger("hpcsec.bench"), make_tap=lambda *_: None))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
