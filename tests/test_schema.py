"""The tables in docs/configuration.md are made from the code. `python tests/test_schema.py` writes them anew."""

import json
import re
import tomllib
from pathlib import Path

import msgspec

import compressors
from policies.tables import allowed, described
from policies.written import PolicyTable, RangeTable, RuleTable
from proxy.config import load
from proxy.pricing import PriceTable
from proxy.schema import (
    AdminTable,
    CompressionTable,
    CompressorTable,
    FileTable,
    GuardTable,
    HeaderTable,
    KeyTable,
    LedgerTable,
    RecordingTable,
    RouteTable,
    ServerTable,
    UpstreamTable,
)

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "configuration.md"
SHAPES: dict[str, type[msgspec.Struct]] = {
    "server": ServerTable,
    "key": KeyTable,
    "admin": AdminTable,
    "compression": CompressionTable,
    "compressor": CompressorTable,
    "ledger": LedgerTable,
    "recording": RecordingTable,
    "upstream": UpstreamTable,
    "route": RouteTable,
    "header": HeaderTable,
    "guard": GuardTable,
    "policy": PolicyTable,
    "rule": RuleTable,
    "range": RangeTable,
    "prices": PriceTable,
}
BLOCK = re.compile(r"(<!-- keys: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(shape: type[msgspec.Struct]) -> str:
    rows = ["| key | takes | default | |", "|---|---|---|---|"]
    for field in msgspec.structs.fields(shape):
        takes = allowed(field.type).replace("|", "\\|")
        rows.append(f"| `{field.encode_name}` | {takes} | {default(field)} | {described(field.type)} |")
    return "\n".join(rows) + "\n"


def default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = [] if field.default is msgspec.NODEFAULT else field.default
    if value is None:
        return ""
    return f"`{value:g}`" if isinstance(value, float) else f"`{json.dumps(value)}`"


def settings_of_compressors() -> dict[str, type[msgspec.Struct]]:
    return {name: shape for name in compressors.TABLE if (shape := compressors.settings_of(name))}


def every_compressor() -> str:
    """A table for each compressor that takes settings."""
    shapes = settings_of_compressors()
    return "\n".join(f'### `use = "{name}"`\n\n{table(shape)}' for name, shape in shapes.items())


def rendered(document: str) -> str:
    def fill(block: re.Match[str]) -> str:
        return block[1] + (every_compressor() if block[2] == "settings" else table(SHAPES[block[2]])) + block[3]

    return BLOCK.sub(fill, document)


def test_the_documented_keys_are_those_of_the_code() -> None:
    """Run this file as a script when it fails."""
    document = DOCUMENT.read_text("utf-8")
    assert rendered(document) == document
    assert {name for _, name, _ in BLOCK.findall(document)} == {*SHAPES, "settings"}


def test_every_key_says_what_it_is_for() -> None:
    shapes = SHAPES | settings_of_compressors()
    silent = [
        f"{name}.{f.name}" for name, s in shapes.items() for f in msgspec.structs.fields(s) if not described(f.type)
    ]
    assert silent == []


def test_every_part_of_the_file_is_documented() -> None:
    document = DOCUMENT.read_text("utf-8")
    for field in msgspec.structs.fields(FileTable):
        assert re.search(rf"^## `\[+{field.name}", document, re.MULTILINE), field.name


def test_the_documented_policies_are_valid(tmp_path: Path) -> None:
    """The TOML in the document loads, piece by piece."""
    pieces = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    assert len(pieces) >= 3
    for number, piece in enumerate(pieces):
        file = tmp_path / f"{number}.toml"
        file.write_text(piece)
        assert tomllib.loads(piece)
        load(file, {"RAG_KEY": "sk-x"})


if __name__ == "__main__":
    DOCUMENT.write_text(rendered(DOCUMENT.read_text("utf-8")), "utf-8")
