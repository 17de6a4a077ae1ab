"""`[compressor.NAME]`: compressors under names of the operator's own, with their settings; and which are called for."""

from collections.abc import Mapping
from pathlib import Path as File

import msgspec

import compressors
from policies.base import Mode
from policies.rules import RulePolicy
from policies.tables import Complaint, Path, read, unknown
from proxy.loading import is_neural
from proxy.settings import Chosen, Settings

MODEL = "model"
"""The setting of a compressor, and the end of the name of any other one, that names a model or its folder."""


def chosen(tables: Mapping[str, object], folder: File, complaints: list[Complaint]) -> dict[str, Chosen]:
    """What the tables stand for, by name. Folders of models are relative to `folder`. Paths of complaints start with
    "compressor"."""
    found = {name: _chosen(name, table, folder, complaints) for name, table in tables.items()}
    return {name: one for name, one in found.items() if one}


def called_for(settings: Settings) -> tuple[str, ...]:
    """The names of the compressors that some route can call for, as policies spell them."""
    used = [settings.policies.get(route.policy) for route in settings.routes]
    active = [policy for policy in used if isinstance(policy, RulePolicy) and policy.mode is not Mode.OFF]
    return tuple(sorted({name for policy in active for name in policy.compressors}))


def runs_models(settings: Settings) -> bool:
    """Whether some route can call for a compressor that runs a model."""
    made = (settings.compressors.get(name, Chosen(name)) for name in called_for(settings))
    return any(_runs_model(one) for one in made)


def _runs_model(one: Chosen) -> bool:
    try:
        return is_neural(compressors.load(one.use, one.settings))
    except (compressors.CompressionError, ImportError, AttributeError):  # whoever loads it says so
        return False


def _chosen(name: str, table: object, folder: File, complaints: list[Complaint]) -> Chosen | None:
    at: Path = ("compressor", name)
    if not isinstance(table, dict):
        complaints.append(Complaint(at, "is not a table", "a table of use and the settings of that compressor"))
        return None
    rest = dict(table)
    use = rest.pop("use", name)
    known = compressors.names()
    if not isinstance(use, str) or use not in known:
        where = (*at, "use") if "use" in table else at
        complaints.append(unknown(where, use if isinstance(use, str) else "this", known, "compressor"))
        return None
    if name in known and use != name:
        complaints.append(Complaint(at, "is the name of a compressor", "another name"))
    return Chosen(use, _settings(use, rest, folder, at, complaints))


def _settings(
    use: str, table: dict[str, object], folder: File, at: Path, complaints: list[Complaint]
) -> msgspec.Struct | None:
    try:
        shape = compressors.settings_of(use)
    except (compressors.CompressionError, ImportError):  # not installed: whoever loads it says so
        return None
    if shape is None:
        complaints.extend(Complaint((*at, key), f"{use} takes no settings") for key in table)
        return None
    try:
        return read(shape, {key: _beside(folder, key, value) for key, value in table.items()}, at, complaints)
    except msgspec.ValidationError as error:  # each key is fine, together they are not
        complaints.append(Complaint(at, str(error)))
        return None


def _beside(folder: File, key: str, value: object) -> object:
    """A model that is given as a folder, from where the file stands. A name on the hub has no such folder there."""
    if not isinstance(value, str) or not (key == MODEL or key.endswith("_" + MODEL)):
        return value
    path = folder / File(value).expanduser()
    return str(path) if value.startswith((".", "~", "/")) or path.is_dir() else value
