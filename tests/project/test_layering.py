"""Holds the arrows between the packages: schemas knows no one, router knows schemas, server knows all."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import ROOT, TESTS

FILES = [
    path
    for folder in sorted(path.parent for path in ROOT.glob("*/__init__.py"))
    for path in sorted(folder.rglob("*.py"))
    if "models" not in path.relative_to(ROOT).parts
]
# What each package may import. The client's rule is narrower, see below.
ALLOWED = {
    "shortlist": {"shortlist.client", "shortlist.router", "shortlist.schemas"},
    "client": {"shortlist.client", "shortlist.schemas", "shortlist.v1"},
    "schemas": {"shortlist.schemas"},
    "router": {"shortlist.router", "shortlist.schemas"},
    "evaluation": {"shortlist.evaluation", "shortlist.router", "shortlist.schemas"},
    "server": {"shortlist.server", "shortlist.router", "shortlist.schemas", "shortlist.v1"},
    "server/cli": {"shortlist.client", "shortlist.evaluation"},
}
MAX_MODULES = 17  # of a folder, __init__.py included
# Modules whose import costs seconds or whose presence is optional, and the only files or folders that may name them.
OWNERS: dict[str, tuple[str, ...]] = {
    "transformers": (
        "router/checkpoints/export.py",
        "router/checkpoints/pretrained.py",
        "router/checkpoints/hub.py",
    ),
    "huggingface_hub": ("router/checkpoints/hub.py",),
    "openvino": ("router/checkpoints/export.py",),
    "starlette": ("server/http/routes.py", "server/http/body.py", "server/http/server.py"),
    "uvicorn": ("server/http/server.py",),
    "flash_attn": ("router/model/attention/cuda.py",),
    "opentelemetry": ("server/telemetry/tracing.py",),
    "prometheus_client": ("server/telemetry/metrics.py",),
    "structlog": ("server/telemetry/logs.py",),
    "sqlglot": ("schemas/sql/",),
    "jwt": ("server/auth/jwks.py", "server/auth/tokens.py"),
    "cryptography": ("server/cli/doctor.py", "server/auth/jwks.py"),
    "jsonschema": ("schemas/tools/",),
}
# What a client is made of: nothing that needs a parser or torch.
KNOWN_TO_CLIENTS = (
    "shortlist.v1.",
    "shortlist.client.",
    "shortlist.schemas.document.",
    "shortlist.schemas.errors",
    "shortlist.schemas.options.",
    "shortlist.schemas.results.",
    "shortlist.schemas.selector.",
    "shortlist.schemas.arguments.",
    "shortlist.schemas.conversation.",
)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> set[str]:
    """Gives the full names of all modules, and of all names out of modules, that a file imports anywhere in it."""
    return {name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) for name in names_in(node, path)}


def names_in(node: ast.AST, path: Path) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        package = f"shortlist.{path.parent.name}" if node.level else ""
        module = ".".join(filter(None, (package, node.module)))
        yield from (f"{module}.{alias.name}" for alias in node.names)


def own(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] == "shortlist"}


def package_of(name: str) -> str:
    return ".".join(name.split(".")[:2])


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_run_one_way(path: Path) -> None:
    folders = [folder.as_posix() for folder in path.relative_to(ROOT).parents]
    allowed = set[str]().union(*(ALLOWED.get(folder, set()) for folder in folders))

    assert {package_of(name) for name in own(imported(path))} <= allowed


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_are_absolute(path: Path) -> None:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))

    assert all(node.level == 0 for node in nodes if isinstance(node, ast.ImportFrom))


def module_of(path: Path) -> str:
    """Gives the name under which a file is installed."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if parts[0] == "shortlist" else ("shortlist", *parts))


def needs() -> dict[str, set[str]]:
    """Gives the modules of ours that each module imports, those for type checkers and those inside functions too."""
    modules = {module_of(path): path for path in FILES}
    return {
        name: {found for each in imported(path) for found in (each, each.rpartition(".")[0]) if found in modules}
        - {name}
        for name, path in modules.items()
    }


def test_no_modules_import_one_another_in_a_circle() -> None:
    left = needs()
    # Modules that need nothing that is left cannot be in a circle; what remains in the end is in one, or needs one.
    while free := {name for name, needed in left.items() if not needed & set(left)}:
        left = {name: needed for name, needed in left.items() if name not in free}

    assert left == {}


@pytest.mark.parametrize("module", OWNERS)
def test_a_costly_module_is_imported_by_its_owners_alone(module: str) -> None:
    importers = [name_of(path) for path in FILES if any(n.split(".")[0] == module for n in imported(path))]

    assert [name for name in importers if not name.startswith(OWNERS[module])] == []


@pytest.mark.parametrize("path", [path for path in FILES if path.parent == ROOT / "client"], ids=name_of)
def test_the_client_knows_only_itself_the_stubs_and_plain_values(path: Path) -> None:
    names = own(imported(path))

    assert [name for name in names if not name.startswith(KNOWN_TO_CLIENTS)] == []


def test_the_errors_import_nothing_of_ours() -> None:
    assert own(imported(ROOT / "schemas/errors.py")) == set()


def test_no_folder_holds_more_modules_than_one_can_look_over() -> None:
    counts = Counter(path.parent for path in FILES)

    assert {folder.relative_to(ROOT).as_posix(): n for folder, n in counts.items() if n > MAX_MODULES} == {}


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("shortlist.router.pipeline", {"transformers", "huggingface_hub", "flash_attn", "grpc"}),
        ("shortlist.router", {"torch", "transformers", "numpy", "sqlglot"}),
        (
            "shortlist.client.client",
            {"torch", "transformers", "numpy", "sqlglot", "jsonschema", "tokenizers", "pydantic"},
        ),
        # gRPC's core reads how much it may write to stderr when it is imported, and `serve` says so first.
        (
            "shortlist.server.cli.main, shortlist.server.telemetry.logs",
            {"torch", "transformers", "numpy", "sqlglot", "jsonschema", "pydantic", "jwt", "grpc"},
        ),
        ("shortlist.server.app", {"torch", "numpy", "jwt", "cryptography", "opentelemetry", "starlette", "uvicorn"}),
        ("shortlist.schemas.tools.parse, shortlist.schemas.sql.parse", {"torch", "grpc", "numpy"}),
    ],
    ids=["pipeline", "router", "client", "cli", "app", "schemas"],
)
def test_importing_stays_light(module: str, absent: set[str]) -> None:
    loaded = run(f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})").split()

    assert absent.isdisjoint(loaded)


def test_loading_a_model_of_ones_own_format_needs_no_transformers(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(TESTS)!r})\n"
        "from pathlib import Path\n"
        "import torch\n"
        "from checkpoints import random_model, unigram_tokenizer\n"
        "from shortlist import Router\n"
        "from shortlist.router.checkpoints.native import write_folder\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "described = {'name': 'a', 'version': '1', 'license': '', "
        "'tokenizer': {'bos_id': 0, 'eos_id': 2, 'num_separators': 2}, "
        "'defaults': {'default_query_tokens': 24, 'default_pair_tokens': 80, 'document_tokens': 40}}\n"
        "codes, scales = torch.zeros(100, 16, dtype=torch.uint8), torch.zeros(100, 1, dtype=torch.float16)\n"
        "write_folder(folder, random_model(), codes, scales, described)\n"
        "unigram_tokenizer().save(str(folder / 'tokenizer.json'))\n"
        "Router.load(folder, device='cpu', dtype='float32')\n"
        "print('transformers' in sys.modules, 'huggingface_hub' in sys.modules)"
    )

    assert run(code) == "False False"
