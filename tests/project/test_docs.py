"""Compares the pages with the code (links, commands, examples, alerts), and tests the scripts that build the site."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from paths import ROOT

from shortlist.server.cli.main import build_parser
from shortlist.server.settings import Settings


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / f"docs/{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


check_links, generate, generated, terminal_svg = map(load, ("check_links", "generate", "generated", "terminal_svg"))
RECORDS = ("CHANGELOG.md", "docs/log.md", "training/RUNS.md")  # of what was; their code may be of its day
PAGES = {
    source: (ROOT / source).read_text(encoding="utf-8")
    for source in generate.site_pages()
    if source.endswith(".md") and source not in RECORDS
}


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Gives the code blocks of a language, each with the page it stands on."""
    for source, text in PAGES.items():
        for code in re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S):
            yield source, code


def commands() -> list[tuple[str, str]]:
    """Gives each `shortlist` command of the shell blocks, without its redirections and what follows it."""
    return [
        (source, command.rstrip(" &;"))
        for source, code in blocks("sh")
        for command in re.findall(r"(?:^|\| |\(|\) |; )(shortlist [a-z][^|>)#\n]*)", code, re.M)
    ]


def written(folder: Path, **pages: str) -> Path:
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    return folder


# ---------------------------------------------------------------- what the pages say


def test_every_link_leads_somewhere() -> None:
    assert [str(bad) for bad in check_links.bad_links(ROOT)] == []


def test_the_readme_is_short() -> None:
    assert len(PAGES["README.md"].splitlines()) < 120


@pytest.mark.parametrize(("page", "command"), commands())
def test_commands_on_the_pages_are_understood(page: str, command: str) -> None:
    words = shlex.split(command.replace("…", "x").replace("[", "").replace("]", ""))[1:]
    _, rest = build_parser().parse_known_args(words)
    assert [word for word in rest if word.startswith("-")] == []


@pytest.mark.parametrize(("page", "code"), list(blocks("python")))
def test_python_on_the_pages_compiles_and_imports_what_exists(page: str, code: str) -> None:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("shortlist"):
            module = importlib.import_module(str(node.module))
            assert all(hasattr(module, alias.name) for alias in node.names)


@pytest.mark.parametrize("page", PAGES)
def test_settings_on_the_pages_exist(page: str) -> None:
    variables = {name.lower() for name in re.findall(r"SHORTLIST_([A-Z][A-Z_]+[A-Z])", PAGES[page])}
    assert variables - {"config", "api_key"} <= set(Settings.model_fields)


@pytest.mark.parametrize("page", PAGES)
def test_files_named_on_the_pages_exist(page: str) -> None:
    folders = "benchmarks|client|deploy|docs|evaluation|examples|proto|router|schemas|server|shortlist|tests|training"
    named = re.findall(rf"`((?:{folders})/[\w./-]+)`", PAGES[page])
    assert [
        name for name in named if not (ROOT / name).exists() and name != "shortlist/schemas/json" and "NAME" not in name
    ] == []


def test_the_runbook_has_a_section_for_each_alert() -> None:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text(encoding="utf-8"))
    alerts = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    assert re.findall(r"^### (Shortlist\w+)$", PAGES["docs/guides/runbook.md"], re.M) == alerts


def test_every_page_is_in_the_navigation() -> None:
    class Loader(yaml.SafeLoader):
        pass

    def places(entries: list[dict[str, object]]) -> Iterator[str]:
        for entry in entries:
            for below in entry.values():
                if isinstance(below, list):
                    yield from places(below)
                else:
                    yield str(below)

    settings = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)
    pages = {place for place in generate.site_pages().values() if place.endswith(".md")}
    assert set(places(settings["nav"])) == pages


# ---------------------------------------------------------------- generated parts


def test_every_marker_has_a_part_and_every_part_a_marker() -> None:
    markers = [name for text in PAGES.values() for name in generate.MARKER.findall(text)]
    assert sorted(markers) == sorted(generated.PARTS)


def test_each_setting_is_a_line_with_its_range() -> None:
    lines = generated.settings().splitlines()
    assert len(lines) == len(Settings.model_fields) + 2
    assert any(line.startswith("| `port` | whole number, 0 to 65535 | `50051` |") for line in lines)


def test_each_option_is_a_line_with_its_range() -> None:
    text = generated.options()
    assert "| `top_n` | tools, tables, documents | `5` | 0 or more |" in text
    assert "| `keep_columns` | tables | `0.0` | 0 to 1 |" in text


def test_metrics_are_listed_with_their_labels() -> None:
    assert "| `shortlist_requests_total` | counter | method, transport, code |" in generated.metrics()


def test_commands_are_listed_down_to_the_last_level() -> None:
    text = generated.commands()
    assert "## shortlist serve\n" in text
    assert "--max-queue-seconds" in text
    assert "## shortlist keys add\n" in text


def test_messages_carry_the_comments_of_the_contract() -> None:
    text = generated.messages()
    assert "## SelectToolsRequest\n" in text
    assert "| `optional int32 top_n = 3` | How many tools to return at most" in text


def test_errors_and_routes_are_listed() -> None:
    assert "| `ServerBusy` | `RESOURCE_EXHAUSTED` | 429 | `OVERLOADED` |" in generated.errors()
    assert "| `POST /v1/tools:select` |" in generated.routes()


# ---------------------------------------------------------------- the scripts


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("other.md", ""),
        ("other.md#two-words", ""),
        ("#here", ""),
        ("https://example.org/a", ""),
        ("missing.md", "no such file"),
        ("other.md#three-words", "other.md has no heading with this anchor"),
        ("/absolute.md", "starts at the root of a host; write it relative to this page"),
        ("htp://example.org", "not an http or https address"),
    ],
)
def test_a_link_is_told_by_its_fault(tmp_path: Path, target: str, reason: str) -> None:
    folder = written(tmp_path, page=f"# Here\n[a]({target})\n", other="# Two `words`\n```\n# three words\n```\n")
    assert [bad.reason for bad in check_links.bad_links(folder)] == [reason] * bool(reason)


def test_a_link_may_go_on_in_the_next_line(tmp_path: Path) -> None:
    folder = written(tmp_path, page="First\n\nsome [two\nlines](missing.md)\n")
    assert [str(bad) for bad in check_links.bad_links(folder)] == ["page.md:3: missing.md: no such file"]
    assert generate.relink("[two\nlines](docs/b.md)", "README.md", {"README.md": "index.md", "docs/b.md": "b.md"}) == (
        "[two\nlines](b.md)"
    )


def test_links_in_code_are_no_links(tmp_path: Path) -> None:
    folder = written(tmp_path, page="`[a](missing.md)`\n\n```\n[a](missing.md)\n```\n")
    assert list(check_links.bad_links(folder)) == []


def test_what_a_site_loads_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        '<link rel="canonical" href="https://a.example"><a href="https://b.example">b</a><script src="//c.example/x">'
    )
    (tmp_path / "site.css").write_text('p { background: url("https://d.example/e.png") url(local.png) }')
    assert list(check_links.foreign_resources(tmp_path)) == [
        "index.html: loads //c.example/x",
        "site.css: loads https://d.example/e.png",
    ]


def test_links_are_rewritten_for_the_site() -> None:
    pages = {"README.md": "index.md", "docs/a/b.md": "a/b.md", "SECURITY.md": "security.md", "docs/p.png": "p.png"}
    text = (
        "[b](docs/a/b.md#c) [code](router/x.py) ![p](docs/p.png) [far](https://example.org)\n```\n[b](docs/a/b.md)\n```"
    )
    assert generate.relink(text, "README.md", pages) == (
        "[b](a/b.md#c) code ![p](p.png) [far](https://example.org)\n```\n[b](docs/a/b.md)\n```"
    )
    assert generate.relink("[s](../../SECURITY.md#keys)", "docs/a/b.md", pages) == "[s](../security.md#keys)"


def test_a_picture_of_a_terminal_keeps_its_columns() -> None:
    picture = terminal_svg.draw(["\x1b[1ma\x1b[0m  日 b"], "make demo")
    assert 'x="39.4" y="44" textLength="31.2"' in picture  # the third column, four cells wide
    assert 'class="bold">a</text>' in picture
    assert "$ make demo" in picture
