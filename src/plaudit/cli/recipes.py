"""``plaudit recipes list`` and ``copy``: configs that were run here, or published by others, with what to expect."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Annotated

import typer

from plaudit.errors import OutputError, UnknownNameError, closest_or_all

app = typer.Typer(help="List or copy the recipes: configs to train from, with what to expect of them.")

_PACKAGE = Path(__file__).resolve().parents[1]


def recipes_folder(package: Path = _PACKAGE) -> Path:
    """Return the folder of the recipes: shipped inside the wheel, or at the top of a checkout."""
    shipped = package / "recipes_data"
    return shipped if shipped.is_dir() else package.parents[1] / "recipes"


def recipe_names(folder: Path) -> list[str]:
    """Return the names of the recipes in ``folder``, sorted: each is a folder with a ``config.yaml``."""
    return sorted(path.parent.relative_to(folder).as_posix() for path in folder.glob("**/config.yaml"))


@app.command("list", epilog="Examples:\n\nplaudit recipes list\n\nplaudit recipes list | grep CPU")
def list_recipes() -> None:
    """Show each recipe: what it does, the hardware it asks for, and whether it was run here (has a result.json)."""
    from plaudit.cli.console import print_table

    folder = recipes_folder()
    rows = [
        (
            name,
            _sentence(folder / name / "README.md"),
            _hardware(folder / name / "README.md"),
            "yes" if (folder / name / "result.json").is_file() else "no",
        )
        for name in recipe_names(folder)
    ]
    print_table("recipes", ("name", "what it does", "hardware", "measured"), rows)
    typer.echo("plaudit recipes copy NAME puts one into this folder")


@app.command(epilog="Examples:\n\nplaudit recipes copy quickstart\n\nplaudit recipes copy hh_minilm_all runs/mine")
def copy(
    name: Annotated[str, typer.Argument(help="Name of the recipe.", show_default=False)],
    destination: Annotated[
        Path | None, typer.Argument(metavar="[DEST]", help="Folder to make.", show_default="./NAME")
    ] = None,
) -> None:
    """Copy a recipe to a folder of yours, to change and train."""
    folder = recipes_folder()
    names = recipe_names(folder)
    if name not in names:
        raise UnknownNameError(f"unknown recipe {name!r}; {closest_or_all(name, names)}")
    target = destination or Path(Path(name).name)
    if target.exists():
        raise OutputError(f"{target} exists; name another folder: plaudit recipes copy {name} FOLDER")
    try:
        shutil.copytree(folder / name, target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    config = target / "config.yaml"
    typer.echo(f"wrote {target}")
    for line in _requirements(target / "README.md"):
        typer.echo(f"needs: {line}")
    verb = _verb(config)
    trial = f", or try it first: plaudit train {config} --tiny" if verb == "train" else ""
    typer.echo(f"next: plaudit {verb} {config}{trial}")


def _verb(config: Path) -> str:
    """Return the verb that takes ``config``: a mixture has parts, semi-supervised training has unlabelled groups."""
    keys = {line.split(":")[0] for line in config.read_text(encoding="utf-8").splitlines()}
    if "parts" in keys:
        return "data show"
    return "ssrm" if "unlabelled" in keys else "train"


def _sentence(readme: Path) -> str:
    """Return the first sentence of ``readme`` below its heading, as plain text."""
    if not readme.is_file():
        return ""
    parts = (" ".join(part.split()) for part in readme.read_text(encoding="utf-8").split("\n\n"))
    found = next((part for part in parts if part and not part.startswith(("#", "```", "|"))), "")
    found = re.sub(r"(?<=[a-z)`]\.) .*", "", found)
    return re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", found)


def _commands(readme: Path) -> list[str]:
    """Return the lines of the first block of commands of ``readme``."""
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    block = re.search(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [] if block is None else [line for line in block[1].splitlines() if line.strip()]


def _requirements(readme: Path) -> list[str]:
    """Return what comes before training: packages, data, weights."""
    lines = (re.sub(r"\s+#", "  #", line) for line in _commands(readme))
    return [line for line in lines if not line.startswith(("plaudit ", "torchrun "))]


def _hardware(readme: Path) -> str:
    """Return ``CPU``, or the number of GPUs that the command of ``readme`` asks for."""
    found = next((re.search(r"--nproc-per-node (\d+)", line) for line in _commands(readme) if "torchrun" in line), None)
    return "CPU" if found is None else f"{found[1]} GPUs"
