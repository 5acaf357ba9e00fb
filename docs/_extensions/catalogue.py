"""Directives that list recipes, presets, data sets and commands, read from the code."""

import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import click
import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from scn_keras.cli import main
from scn_keras.cli._catalog import docstring, presets, recipe_files
from scn_keras.training.recipe import Recipe
from scn_keras.training.recipes import load_recipe

from . import docstrings

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def recipe_cards() -> str:
    """Returns a section for each recipe of the package: text, settings and source."""
    return "\n\n".join(
        _recipe_card(name, file) for name, file in sorted(recipe_files().items())
    )


def _recipe_card(name: str, file: pathlib.Path) -> str:
    text = docstrings.to_myst(docstring(file))
    rows = "\n".join(f"| {key} | {value} |" for key, value in _settings(name))
    return (
        f"({name})=\n## {name}\n\n{text}\n"
        f"| setting | value |\n|---|---|\n{rows}\n\n"
        f"<details><summary>Source of <code>{file.name}</code></summary>\n\n"
        f"```python\n{file.read_text('utf-8')}```\n\n</details>\n"
    )


def _settings(name: str) -> Iterator[tuple[str, str]]:
    recipe: Recipe = load_recipe(name)
    network, optimizer = recipe.network, recipe.optimizer
    grid = " × ".join(map(str, recipe.image_to_grid.grid))
    spacing = recipe.image_to_grid.grid_spacing
    yield "data set", f"`{recipe.dataset}`, trained on `{recipe.train_split}`"
    if recipe.observer:
        yield "observer", f"`{recipe.observer}`"
    yield "grid", f"{grid} px" + (f" of {spacing} mm" if spacing else "")
    if not recipe.uses_network:
        arguments = ", ".join(f"{k}={v!r}" for k, v in recipe.method_settings.items())
        yield "method", f"`{recipe.method}`: `{arguments}`"
        return
    values = ", ".join(f"{k}={v!r}" for k, v in network.arguments.items())
    yield "network", f"`{network.kind}`" + (f": `{values}`" if values else "")
    if recipe.local:
        yield "local networks", f"sub-images of {recipe.local.size} px"
    if recipe.coarse:
        coarse = " × ".join(map(str, recipe.coarse.image_to_grid.grid))
        yield "coarse stage", f"`{recipe.coarse.network.kind}` on {coarse} px"
    yield "loss, decoder", f"`{recipe.loss}`, `{recipe.peak}`"
    yield "optimiser", f"`{optimizer.name}`, learning rate {optimizer.learning_rate:g}"
    yield "steps, batch", f"{recipe.steps:,}, {recipe.batch_size}"


def preset_cards() -> str:
    """Returns the model card of each preset, as a section."""
    folder = REPOSITORY / "saved_models" / "presets"
    cards = []
    for name in presets():
        card = (folder / name / "model_card.md").read_text("utf-8")
        cards.append(f"({name}-preset)=\n{_deeper(card)}")
    return "\n\n".join(cards)


def data_set_cards() -> str:
    """Returns the text of each data set of the package, as a section."""
    cards = []
    for file in sorted((REPOSITORY / "datasets").glob("*/README.md")):
        text = docstrings.to_myst(file.read_text("utf-8"))
        cards.append(f"({file.parent.name}-data)=\n## {file.parent.name}\n\n{text}")
    return "\n\n".join(cards)


def command_reference() -> str:
    """Returns a section for each command, with its help."""
    context = click.Context(main, info_name="scn-keras", terminal_width=80)
    return "\n\n".join(
        f"## {path}\n\n```text\n{text}\n```" for path, text in _commands(context)
    )


def _commands(context: click.Context) -> Iterator[tuple[str, str]]:
    command = context.command
    if not isinstance(command, click.Group):
        yield context.command_path, context.get_help()
        return
    for name in sorted(command.list_commands(context)):
        if inner := command.get_command(context, name):
            yield from _commands(
                click.Context(inner, info_name=name, parent=context, terminal_width=80)
            )


def how_to_cite() -> str:
    """Returns the citation of the package and of its method, from CITATION.cff."""
    text = (REPOSITORY / "CITATION.cff").read_text("utf-8")
    software = yaml.safe_load(text)
    authors = " and ".join(author["name"] for author in software["authors"])
    blocks = [
        _bibtex(
            "software",
            "scn_keras",
            author=f"{{{authors}}}",
            title=software["title"],
            version=software["version"],
            note=f"License: {software['license']}",
        ),
        *(
            _bibtex(
                "article",
                f"{article['authors'][0]['family-names']}{article['year']}".lower(),
                author=" and ".join(
                    f"{a['family-names']}, {a['given-names']}"
                    for a in article["authors"]
                ),
                title=article["title"],
                journal=article["journal"],
                volume=article["volume"],
                pages=f"{article['start']}--{article['end']}",
                year=article["year"],
                doi=article["doi"],
            )
            for article in software["references"]
        ),
    ]
    bibtex = "\n\n".join(blocks)
    return f"{software['message']}\n\n```text\n{bibtex}\n```\n"


def _bibtex(kind: str, key: str, **fields: Any) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def _deeper(markdown: str) -> str:
    """Returns Markdown with its headings one level deeper, those in code left alone."""
    lines, is_code = [], False
    for line in markdown.splitlines():
        is_code ^= line.startswith("```")
        lines.append(f"#{line}" if re.match("#+ ", line) and not is_code else line)
    return "\n".join(lines)


def _directive(text: Callable[[], str]) -> type[SphinxDirective]:
    class Generated(SphinxDirective):
        def run(self) -> list[nodes.Node]:
            return self.parse_text_to_nodes(text(), allow_section_headings=True)

    return Generated


def setup(app: Sphinx) -> dict[str, Any]:
    for text in (
        recipe_cards,
        preset_cards,
        data_set_cards,
        command_reference,
        how_to_cite,
    ):
        app.add_directive(text.__name__.replace("_", "-"), _directive(text))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
