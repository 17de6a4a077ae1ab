"""What `laconic models` shows: the models that are here, whether they are whole, and a download on its way."""

import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Table

from compressors.base import Unavailable
from compressors.checkpoint import find, models_folder
from compressors.models import download, models, verify

_MB = 1e6


def show(console: Console) -> None:
    """A line for each model that comes with Laconic or lies in the folder of models."""
    found = models()
    table = Table("model", "kind", "MB", "version", box=None, pad_edge=False)
    for model in found:
        table.add_row(model.name, model.kind, f"{model.size / _MB:,.1f}", model.version[:12] or model.problem)
    console.print(table, highlight=False)
    said = f"laconic/… come with it; others lie in {models_folder()}; more: `laconic models download NAME`"
    console.print(said, highlight=False, soft_wrap=True)


def get(name: str, revision: str) -> Path:
    """Downloads a model; shows how far it is where there is a terminal. Raises `Unavailable`."""
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=Console(stderr=True)) as shown:
        tasks: dict[str, TaskID] = {}

        def told(file: str, there: int, size: int) -> None:
            if file not in tasks:
                tasks[file] = shown.add_task(file, total=size)
            shown.update(tasks[file], completed=there)

        return download(name, revision, told)


def check(names: list[str]) -> bool:
    """Reads every file of these models, of all where none is named, and says what is wrong with them."""
    whole = True
    for name in names or [model.name for model in models()]:
        try:
            problems = verify(find(name))
        except Unavailable as error:
            problems = [str(error)]
        for problem in problems:
            print(f"laconic: {problem}", file=sys.stderr)
        print(f"{name}: {'not as it should be' if problems else 'as it was downloaded'}")
        whole = whole and not problems
    return whole
