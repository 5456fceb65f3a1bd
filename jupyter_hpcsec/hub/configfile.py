"""Configuration files: Python that sets traits of one class. What is wrong with one is said with its name."""

from pathlib import Path
from typing import TypeVar

from traitlets import TraitError
from traitlets.config import Config, Configurable
from traitlets.config.loader import ConfigFileNotFound, PyFileConfigLoader

from jupyter_hpcsec.errors import Malformed

Configured = TypeVar("Configured", bound=Configurable)


def load(path: Path, kind: type[Configured]) -> Configured:
    """The traits of ``kind`` in a file; ``Malformed`` names what is wrong with it."""
    try:
        config: Config = PyFileConfigLoader(path.name, str(path.parent)).load_config()
    except ConfigFileNotFound as exc:
        raise Malformed(f"there is no configuration file {path}") from exc
    except Exception as exc:  # the file is Python: whatever its lines raise, its admin needs the name of the file
        raise Malformed(f"{path} can't be read: {type(exc).__name__}: {exc}") from exc
    unknown = [name for name in config.get(kind.__name__, {}) if not kind().has_trait(name)]
    if unknown:
        raise Malformed(f"{path}: {kind.__name__} has no setting {', '.join(sorted(unknown))}; see the admin guide")
    try:
        return kind(config=config)
    except TraitError as exc:
        raise Malformed(f"{path}: {exc}") from exc
