"""The documentation is true as far as a machine can tell: commands parse, files load, links lead somewhere, paths exist.

Commands are parsed by the real command line and not run (the demo and tests/e2e run them). What pages say in prose is not
checked.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from edgesim.cli.main import cli
from edgesim.config.manifest import load_app
from edgesim.config.scenario import parse_scenario
from edgesim.config.topology import parse_topology
from edgesim.config.yaml_source import load_yaml

ROOT = Path(__file__).resolve().parents[2]
TOP = ("edgesim", "tests", "docs", "scripts", "benchmarks", "workers", "pops", "scenarios", "dashboards")
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "dashboards").glob("*.md"),
        *(ROOT / "workers").glob("*.md"),
    ]
)
SHELLS = {"sh", "bash", "console"}
OPERATORS = {"|", "||", "&&", ";", "&", "(", ")"}

on_each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    line: int
    text: str


def blocks(markdown: str) -> list[Block]:
    """The fenced blocks of a page, indented ones too."""
    found = []
    fence, language, start, lines = "", "", 0, list[str]()
    for number, line in enumerate(markdown.splitlines(), 1):
        mark = re.match(r"\s*(`{3,}|~{3,})\s*([\w-]*)", line)
        if not fence and mark:
            fence, language, start, lines = mark[1], mark[2], number + 1, []
        elif fence and line.strip() == fence:
            found.append(Block(language, start, "\n".join(lines) + "\n"))
            fence = ""
        elif fence:
            lines.append(line)
    assert not fence, f"the block that begins before line {start} is not closed"
    return found


def prose(markdown: str) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^\s*(`{3,}|~{3,}).*?^\s*\1\s*$", "", markdown, flags=re.MULTILINE | re.DOTALL)


def commands(script: str) -> list[list[str]]:
    """The simple commands of a shell script, without environment assignments, redirections and prompts."""
    found: list[list[str]] = []
    script = re.sub(r"\\\n\s*", " ", script)
    for line in script.splitlines():
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
        lexer.commenters = "#"
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word in OPERATORS:
                if words:
                    found.append(words)
                words = []
            elif words or not re.fullmatch(r"[A-Za-z_]\w*=.*", word):
                words.append(word)
    return [_without_redirections(command) for command in found]


def _without_redirections(words: list[str]) -> list[str]:
    kept, skip = [], False
    for word in words:
        if word in {">", ">>", "<", ">&"}:
            skip = True
        elif skip:
            skip = False
        else:
            kept.append(word)
    return kept


def parse(arguments: list[str]) -> click.Context:
    """Parse a command line as `edgesim` would, without running it. Raises click.UsageError."""
    command: click.Command = cli
    context = click.Context(cli, info_name="edgesim", **cli.context_settings)
    rest = list(arguments)
    while isinstance(command, click.Group):
        if not rest or rest[0].startswith("-"):
            raise click.UsageError("a command is missing", context)
        found = command.get_command(context, rest.pop(0))
        if found is None:
            raise click.UsageError(f"no such command: {' '.join(arguments)}", context)
        command, context = found, click.Context(found, parent=context, info_name=found.name)
    try:
        return command.make_context(command.name, rest, parent=context.parent)
    except click.exceptions.Exit:  # --help
        return context
    except click.BadParameter as exc:
        if isinstance(exc.param and exc.param.type, click.Path) and not isinstance(exc, click.MissingParameter):
            return context  # a file of the reader's
        raise


def problem_of(words: list[str]) -> str:
    """What is wrong with a command that a page shows; empty when nothing is."""
    program = Path(words[0]).name
    if program == "edgesim":
        try:
            parse(words[1:])
        except click.UsageError as exc:
            return f"{shlex.join(words)}: {exc.format_message()}"
    elif program == "make":
        targets = {target for line in _makefile() for target in re.findall(r"^([a-z]+):", line)}
        wrong = [w for w in words[1:] if "=" not in w and not w.startswith("-") and w not in targets]
        if wrong:
            return f"the Makefile has no target {' '.join(wrong)}"
    elif program in {"python", "python3"}:
        if words[1] == "-m" and find_spec(words[2].split(".")[0]) and words[2].startswith("edgesim"):
            return "" if find_spec(words[2]) else f"there is no module {words[2]}"
        if words[1].endswith(".py") and not (ROOT / words[1]).is_file():
            return f"there is no file {words[1]}"
    return ""


def _makefile() -> list[str]:
    return (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    text = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(markdown: str) -> set[str]:
    """The anchors of a page."""
    seen: dict[str, int] = {}
    for heading in re.findall(r"^#{1,6} +(.+?)\s*#*$", prose(markdown), flags=re.MULTILINE):
        name = slug(heading)
        seen[name] = seen.get(name, -1) + 1
        if seen[name]:
            seen[f"{name}-{seen[name]}"] = 0
    return set(seen) | set(re.findall(r'<a (?:id|name)="([^"]+)"', markdown))


def read(page: Path) -> str:
    """The page's text."""
    return page.read_text(encoding="utf-8")


@on_each_page
def test_commands_parse(page):
    """Every command line in a shell block names commands, options, make targets and scripts that exist."""
    wrong = []
    for block in blocks(read(page)):
        if block.language in SHELLS:
            wrong += [problem_of(words) for words in commands(block.text)]

    assert [w for w in wrong if w] == []


@on_each_page
def test_commands_in_prose_exist(page):
    """Every `edgesim …` in prose names a command and options that exist; arguments may be left out."""
    wrong = []
    for span in re.findall(r"(?<!`)`(edgesim [a-z][^`\n]*)`(?!`)", prose(read(page))):
        words = [word for word in re.split(r"\s+", span) if not re.search(r"[…<>|*]", word)]
        try:
            parse(shlex.split(" ".join(words))[1:])
        except (click.MissingParameter, click.BadOptionUsage):
            pass
        except click.UsageError as exc:
            if "a command is missing" not in exc.message:
                wrong.append(f"{span}: {exc.format_message()}")

    assert wrong == []


@on_each_page
def test_yaml_blocks_load(page):
    """A YAML block is a topology or a scenario that the loader takes, or at least well-formed."""
    for block in blocks(read(page)):
        if block.language not in {"yaml", "yml"}:
            continue
        source = load_yaml(block.text, f"{page.name}:{block.line}")
        keys = set(source.data) if isinstance(source.data, dict) else set()
        if "version" in keys and keys & {"load", "populations", "timeline"}:
            assert parse_scenario(source, ROOT).name
        elif "version" in keys and "pops" in keys:
            assert parse_topology(source).pops


@on_each_page
def test_toml_blocks_load(page, tmp_path):
    """A TOML block with a Spin manifest is one that `edgesim deploy` takes."""
    for block in blocks(read(page)):
        if block.language != "toml":
            continue
        document = tomllib.loads(block.text)
        if "spin_manifest_version" not in document:
            continue
        folder = tmp_path / str(block.line)
        folder.mkdir()
        for component in document["component"].values():
            source = folder / component["source"]
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_bytes((ROOT / "workers/hello/hello.wasm").read_bytes())
            for entry in component.get("files", []):
                bundled = entry["source"] if isinstance(entry, dict) else entry.split("*")[0]
                (folder / bundled).mkdir(parents=True, exist_ok=True)
                (folder / bundled / "a.txt").write_text("a file to bundle")
        (folder / "spin.toml").write_text(block.text, encoding="utf-8")

        assert load_app(folder).name


@on_each_page
def test_links_lead_somewhere(page):
    """Every link inside the project leads to a file, and its anchor to a heading."""
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(read(page))):
        if re.match(r"[a-z][a-z+.-]*:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            wrong.append(f"{target}: no such file")
        elif anchor and (file.suffix != ".md" or anchor not in anchors(read(file))):
            wrong.append(f"{target}: no such heading")

    assert wrong == []


@on_each_page
def test_named_files_exist(page):
    """Every path of the project that a page names is there."""
    spans = re.findall(rf"(?<!`)`((?:{'|'.join(TOP)})/[\w./-]*)`(?!`)", prose(read(page)))

    assert [span for span in spans if "NNNN" not in span and not (ROOT / span).exists()] == []


def test_every_page_is_in_the_index():
    """A page that docs/README.md does not lead to is not found."""
    index = read(ROOT / "docs/README.md")
    decisions = read(ROOT / "docs/adr/README.md")
    missing = [
        page.relative_to(ROOT / "docs").as_posix()
        for page in (ROOT / "docs").rglob("*.md")
        if page.name != "README.md"
        and f"({page.relative_to(ROOT / 'docs').as_posix()})" not in index
        and f"({page.name})" not in decisions
    ]

    assert missing == []


def test_the_checks_find_what_they_are_for():
    """The helpers see planted mistakes: a check that cannot fail protects nothing."""
    page = "# A b\n\n```sh\n# why\nX=1 edgesim pops lst | head && make nothing > f\n```\n\n## A b\n"

    assert commands(blocks(page)[0].text) == [["edgesim", "pops", "lst"], ["head"], ["make", "nothing"]]
    assert "no such command" in problem_of(["edgesim", "pops", "lst"])
    assert "No such option" in problem_of(["edgesim", "status", "--jason"])
    assert "MISSING" in problem_of(["edgesim", "curl"]).upper()
    assert "no target" in problem_of(["make", "nothing"])
    assert problem_of(["edgesim", "pops", "list", "--json"]) == problem_of(["make", "test", "X=1"]) == ""
    assert anchors(page) == {"a-b", "a-b-1"}


def test_readme_shows_how_to_begin():
    """The README has the two commands that everything else starts from."""
    shown = [
        words
        for block in blocks(read(ROOT / "README.md"))
        if block.language in SHELLS
        for words in commands(block.text)
    ]

    assert ["make", "demo"] in shown
    assert ["make", "test"] in shown
    assert ["edgesim", "up", "--detach"] in shown


def test_each_decision_has_the_four_parts():
    """Context, options, outcome, consequences, and a status."""
    for page in (ROOT / "docs/adr").glob("[0-9]*.md"):
        text = read(page)
        headings = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)

        assert headings == ["Context", "Options", "Outcome", "Consequences"], page.name
        assert re.search(r"^Status: (accepted|replaced by \d{4})$", text, flags=re.MULTILINE), page.name
