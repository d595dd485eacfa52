"""Build the documentation: write the pages that follow from the code, run mkdocs, look for requests to the outside.

python docs/build.py          writes the pages and builds docs/site
python docs/build.py pages    only writes the pages
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import twostage
from twostage import errors
from twostage.decoding.formats import FORMATS, HEAD, Format
from twostage.options.backbones import BACKBONES
from twostage.options.commands import COMMANDS
from twostage.options.flat import walk
from twostage.options.help import groups, option_table
from twostage.options.run import Config

DOCS = Path(__file__).resolve().parent
PAGES, SITE = DOCS / "pages", DOCS / "site"
MADE = "<!-- made by docs/build.py: change the code instead -->\n"

COMMANDS_INTRO = """# Commands

`twostage COMMAND option=value ...`, or `make COMMAND ARGS="option=value ..."`. `twostage COMMAND --help` lists the
options. `twostage train -m` makes a [sweep](../guide/sweeps.md). The exit status is explained
under [Files](files.md#exit-status).
"""
OPTIONS_INTRO = """# Options

These are the options of the commands that train. Write them as `name=value`, in any order:
`twostage train run=first bins.count=6`. An unknown name or a value outside of its range stops the command with one line
that names the nearest.
"""
BACKBONES_INTRO = """# Backbones

`backbone=NAME backbone.OPTION=VALUE`. [The guide](../guide/backbones.md) says which to choose.
"""
ERRORS_INTRO = """# Errors

Every mistake in the input raises one of these classes. Its message is one line: what was wrong, what is allowed and
what to do. On the command line the line goes to stderr, and the exit status is 1. A traceback is a fault of the
software: please report it.

Each class is also a standard one, so that `except ValueError` works. They are in `twostage.errors`.

| class | also a | meaning |
|---|---|---|"""
FORMATS_INTRO = """# Files of photographs

`twostage formats` prints this table. The content of a file decides, not its name. [Photographs](photographs.md) says
what else is done with them.

"""
EXAMPLES_INTRO = """# Examples

These scripts are in `docs/examples`, and the tests run them. Each but the last two takes options behind its name,
for example `python docs/examples/01_simulated.py train.epochs=4`. They write to `./outputs`; the last reads a file of
`twostage export`.
"""


def main(arguments: list[str]) -> None:
    """Build all; ends with status 1 where a link is broken or a page would fetch something from elsewhere."""
    write_pages()
    if arguments == ["pages"]:
        return
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean", "-f", str(DOCS / "mkdocs.yml")]
    status = subprocess.run(build, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}).returncode
    outside = [] if status else requests_outside(SITE)
    for line in outside:
        print(f"fetched from elsewhere: {line}", file=sys.stderr)
    if status or outside:
        sys.exit(1)
    print(f"The documentation is in {SITE}: open index.html")


def write_pages() -> None:
    """Write the pages that follow from the code and the examples."""
    pages = {
        "reference/commands.md": commands_page(),
        "reference/options.md": options_page(),
        "reference/backbones.md": backbones_page(),
        "reference/errors.md": errors_page(),
        "reference/formats.md": formats_page(),
        "reference/python.md": python_page(),
        "start/examples.md": examples_page(),
    }
    for name, text in pages.items():
        (PAGES / name).write_text(MADE + text, encoding="utf-8")


def commands_page() -> str:
    """Every command with its meaning; options of its own where they are not those of train."""
    lines = [COMMANDS_INTRO.rstrip()]
    shared = {name for name, _, _ in option_table(Config)}
    for name, command in COMMANDS.items():
        lines += ["", f"## {name}", "", _sentence(command.meaning), ""]
        rows = option_table(command.options)
        if issubclass(command.options, Config):
            rows = [row for row in rows if row[0] not in shared]
            lines += ["It takes [all options of a run](options.md)" + (", and these:" if rows else "."), ""]
        lines += _option_rows(rows) if rows else []
    return "\n".join(lines) + "\n"


def options_page() -> str:
    """The options of a run, one table for each part, and the files that set many at once."""
    lines = [OPTIONS_INTRO.rstrip()]
    parts: dict[str, list[tuple[str, str, str]]] = {}
    for row in option_table(Config):
        if not row[0].startswith("backbone ("):
            key = row[0].split(") ")[0] + ")" if row[0].startswith("data (") else row[0].partition(".")[0]
            parts.setdefault(key if "." in row[0] or key.startswith("data (") else "run", []).append(row)
    for part, rows in parts.items():
        title = {"run": "The run"}.get(part, re.sub(r"data \((.*)\)", r"data=\1", part))
        shown = [(name.replace(f"{part} ", "data."), default, meaning) for name, default, meaning in rows]
        lines += ["", f"## {title}", "", *_option_rows(shown)]
    lines += ["", "## backbone", "", "The options of every backbone are on [their page](backbones.md)."]
    lines += ["", "## Many options at once", "", "| write | for example |", "|---|---|"]
    for group, names in groups("train").items():
        lines.append(f"| `{group}=` | {', '.join(f'`{name}`' for name in names)} |")
    return "\n".join(lines) + "\n"


def backbones_page() -> str:
    """Every backbone with its options."""
    lines = [BACKBONES_INTRO.rstrip()]
    for name, backbone in BACKBONES.items():
        rows = [
            (f"backbone.{key}", _default(value), _meaning(metadata))
            for key, value, metadata in walk(backbone.options())
            if "meaning" in metadata
        ]
        title = "any name of timm" if name == "timm" else name
        lines += ["", f"## {title}", "", str(backbone.options.__doc__), "", *_option_rows(rows)]
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    """The classes of errors and what they mean."""
    lines = [ERRORS_INTRO.rstrip()]
    for name in errors.__all__:
        kind = getattr(errors, name)
        if inspect.isclass(kind):
            bases = " and ".join(f"`{base.__name__}`" for base in kind.__bases__)
            lines.append(f"| `{name}` | {bases} | {_sentence(str(kind.__doc__))} |")
    return "\n".join(lines) + "\n"


def formats_page() -> str:
    """What is read, converted and refused."""

    def line(row: Format) -> str:
        return "| " + " | ".join((row.kind, row.file, row.result, row.how)) + " |"

    return FORMATS_INTRO + "\n".join([line(HEAD), "|---|---|---|---|", *map(line, FORMATS)]) + "\n"


def python_page() -> str:
    """The public names, for mkdocstrings."""
    lines = [
        "# Python",
        "",
        "Import these names from `twostage`: " + ", ".join(f"`{name}`" for name in sorted(twostage.__all__)) + ". "
        "[Examples](../start/examples.md) shows them at work.",
    ]
    for name, home in twostage._HOME.items():
        lines += ["", f"::: {home}.{name}", "    options:", f"      heading: {name}"]
    return "\n".join(lines) + "\n"


def examples_page() -> str:
    """The scripts of docs/examples, which the tests run."""
    lines = [EXAMPLES_INTRO.rstrip()]
    for file in sorted((DOCS / "examples").glob("*.py")):
        _, said, code = file.read_text(encoding="utf-8").split('"""', 2)
        lines += ["", f"## {file.name} {{#{file.stem}py}}", "", said, "", "```python", code.strip(), "```"]
    return "\n".join(lines) + "\n"


def _option_rows(rows: list[tuple[str, str, str]]) -> list[str]:
    lines = ["| option | default | meaning |", "|---|---|---|"]
    for name, default, meaning in rows:
        text = re.sub(r"([|\[\]*_])", r"\\\1", meaning).replace("<", "&lt;")
        lines.append(f"| `{name}` | {f'`{default}`' if default else ''} | {text} |")
    return lines


def _default(value: Any) -> str:
    return "null" if value is None else str(value)


def _meaning(metadata: dict[str, Any]) -> str:
    if metadata.get("low") is None:
        return str(metadata["meaning"])
    return f"{metadata['meaning']} [{metadata['low']:g}..{metadata['high']:g}]"


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text[:1].upper() + text[1:] + ("" if text[-1] in ".?!" else ".")


class _Requests(HTMLParser):
    """Addresses that a browser fetches by itself when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Links that a reader may click are no requests; neither is the address of the page itself."""
        given = dict(attrs)
        if tag != "a" and not (tag == "link" and given.get("rel") in ("canonical", "alternate", "next", "prev")):
            self.found += [given[key] or "" for key in ("src", "href", "srcset", "data", "poster") if given.get(key)]
        if "mermaid" in (given.get("class") or "").split():
            self.found.append("https: mermaid is fetched from a server")


def requests_outside(site: Path) -> list[str]:
    """What the pages and styles under `site` would fetch from another server: "file: address" of each."""
    found = []
    for file in sorted(site.rglob("*.html")):
        parser = _Requests()
        parser.feed(file.read_text(encoding="utf-8"))
        found += [f"{file.relative_to(site)}: {address}" for address in parser.found if _is_outside(address)]
    for file in sorted(site.rglob("*.css")):
        addresses = re.findall(r"(?:url\(|@import\s+)[\"']?([^\"')\s]+)", file.read_text(encoding="utf-8"))
        found += [f"{file.relative_to(site)}: {address}" for address in addresses if _is_outside(address)]
    return found


def _is_outside(address: str) -> bool:
    return bool(re.match(r"(https?:)?//|https?:", address.strip()))


if __name__ == "__main__":
    main(sys.argv[1:])
