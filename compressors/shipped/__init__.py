"""The models that come with Laconic, one a folder, named `laconic/FOLDER`; `training/export.py` writes them."""

from pathlib import Path

from compressors.base import Unavailable

OWNER = "laconic"
_HERE = Path(__file__).parent


def names() -> list[str]:
    """Those that are here, by name."""
    return sorted(f"{OWNER}/{path.parent.name}" for path in _HERE.glob("*/config.json"))


def folder(model: str) -> Path:
    """Where a model lies. Raises `Unavailable` for a name that none of them has."""
    if model not in names():
        known = ", ".join(names()) or "none"
        raise Unavailable(f"no model {model!r} comes with Laconic; these do: {known}")
    return _HERE / model.partition("/")[2]
