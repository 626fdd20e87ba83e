"""Builds both wheels, installs them into an empty environment, and imports every module of the checkout."""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from paths import ROOT

# The inputs of a wheel; other files of a checkout (build/, .venv/) are not copied.
FILES = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE")
FOLDERS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
PACKAGES = {**{name: name for name in FOLDERS}, "v1": "proto/shortlist/v1"}


def modules() -> list[str]:
    """Lists every module of the checkout by its installed name."""
    found = []
    for package, folder in PACKAGES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            inside = path.relative_to(ROOT / folder).with_suffix("").parts
            if inside[0] == "models":
                continue
            parts = [*(() if package == "shortlist" else (package,)), *(part for part in inside if part != "__init__")]
            found.append(".".join(["shortlist", *parts]))
    return found


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the two wheels, and this environment's dependencies."""
    folder = tmp_path_factory.mktemp("wheels")
    source = folder / "source"
    for name in FILES:
        source.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    for name in (*FOLDERS, "proto"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder / "dist")]
    subprocess.run([*build, str(source), str(source / "router/models")], check=True)
    venv.create(folder / "env", with_pip=False)
    env = folder / "env" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    wheels = sorted(map(str, (folder / "dist").glob("*.whl")))
    install = [sys.executable, "-m", "pip", "--python", str(env), "install", "--quiet", "--no-deps", *wheels]
    subprocess.run(install, check=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "env")}))
    # A .pth file adds this folder to the path without reading the .pth files in it, so no editable install is visible.
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")
    return env


def run(python: Path, code: str, folder: Path) -> str:
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_every_module_is_in_the_wheel(python: Path, tmp_path: Path) -> None:
    optional = "('flash_attn', 'openvino', 'onnx', 'onnxscript')"
    code = (
        "import importlib, shortlist\n"
        f"for name in {modules()!r}:\n"
        "    try:\n"
        "        found = importlib.import_module(name)\n"
        "    except ModuleNotFoundError as error:\n"
        f"        if error.name not in {optional}: raise\n"
        "    else:\n"
        f"        assert not found.__file__.startswith({str(ROOT)!r}), found.__file__\n"
        "print(shortlist.__file__)"
    )

    assert str(python.parents[1]) in run(python, code, tmp_path)


@pytest.mark.slow
def test_the_model_and_the_proto_are_installed(python: Path, tmp_path: Path) -> None:
    code = (
        "from importlib.resources import files\n"
        "print(files('shortlist_model_small').joinpath('shortlist-small/shortlist.json').is_file(), "
        "files('shortlist.v1').joinpath('router.proto').is_file(), "
        "files('shortlist.schemas').joinpath('json/config.schema.json').is_file())"
    )

    assert run(python, code, tmp_path) == "True True True"


@pytest.mark.slow
def test_a_checkout_does_not_hide_the_installed_package(python: Path) -> None:
    assert run(python, "import shortlist.server.status; print('found')", ROOT) == "found"
