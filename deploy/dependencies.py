"""Says what the server is made of: the distributions that the base install and the extras `serve` and `hub` bring.

    python deploy/dependencies.py requirements          # NAME==VERSION, a line each, for an audit
    python deploy/dependencies.py sbom FILE              # leaves of a CycloneDX file of an environment only these
    python deploy/dependencies.py licences [FILE]        # writes docs/licences.md

It reads the environment it runs in, where tools for developing may stand beside what is shipped, and follows the
requirements from `shortlist` on.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LICENCES = ROOT / "docs/licences.md"
SHIPPED = ("serve", "hub")
OWN = "shortlist"

# How distributions without an SPDX expression write what they mean.
_SPDX = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "isc license": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
}
# Of extras that are not installed for developing; as their distributions state them.
_NOT_INSTALLED = {
    "cohere": "MIT",
    "cohere-haystack": "Apache-2.0",
    "langchain-cohere": "MIT",
    "litellm": "MIT",
    "llama-index-postprocessor-cohere-rerank": "MIT",
    "llama-index-postprocessor-jinaai-rerank": "MIT",
    "llama-index-postprocessor-tei-rerank": "MIT",
    "schemathesis": "MIT",
    "fastembed": "Apache-2.0",
    "flash-attn": "BSD-3-Clause",
    "flashrank": "Apache-2.0",
    "matplotlib": "PSF-2.0",
    "mkdocs-material": "MIT",
    "mkdocstrings": "ISC",
    "nncf": "Apache-2.0",
    "onnx": "Apache-2.0",
    "onnxruntime": "MIT",
    "onnxscript": "MIT",
    "openvino": "Apache-2.0",
    "sentence-transformers": "Apache-2.0",
    "sentencepiece": "Apache-2.0",
}
_HEAD = """# Licences of what Shortlist uses

Written by `make licences` from what each distribution states of itself. Shortlist is Apache-2.0; the weights that come
with it have licences of their own (`NOTICE` and their model card).

"""
_SHIPPED_HEAD = """
## What these bring along

Installed with the base, `serve` and `hub`, by a CPU build of torch. A CUDA build brings NVIDIA's libraries besides,
under NVIDIA's own terms.

| distribution | licence |
|---|---|
"""


@dataclass(frozen=True, slots=True)
class Direct:
    """A requirement of pyproject.toml; `extra` is empty for the base install."""

    extra: str
    name: str


def main(arguments: Sequence[str]) -> int:
    """Runs one of the three commands."""
    match list(arguments):
        case ["requirements"]:
            print("\n".join(f"{one.name}=={one.version.partition('+')[0]}" for one in shipped()))
        case ["sbom", file]:
            _narrow(Path(file))
        case ["licences"]:
            LICENCES.write_text(licences(), encoding="utf-8")
        case ["licences", file]:
            Path(file).write_text(licences(), encoding="utf-8")
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


def direct() -> list[Direct]:
    """Lists the requirements of pyproject.toml in its order, without extras that name others of ours."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups: Mapping[str, list[str]] = {"": project["dependencies"], **project["optional-dependencies"]}
    found = [Direct(extra, Requirement(text).name) for extra, texts in groups.items() for text in texts]
    return [one for one in found if canonicalize_name(one.name) != OWN]


def shipped() -> list[Distribution]:
    """Returns what is installed with the base and `SHIPPED`, by name."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(f"{OWN}[{','.join(SHIPPED)}]")]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = waiting.pop()
        key = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if key in seen:
            continue
        seen.add(key)
        try:
            one = distribution(wanted.name)
        except PackageNotFoundError:
            raise SystemExit(
                f"{wanted.name} is not installed; run this where the extras {', '.join(SHIPPED)} are"
            ) from None
        found[key[0]] = one
        waiting += _needs(one, wanted.extras)
    return [one for name, one in sorted(found.items()) if name != OWN]


def licence_of(one: Distribution) -> str:
    """Returns the licence that a distribution states, as SPDX where that is plain."""
    stated = one.metadata.get("License-Expression")
    if stated:
        return stated
    classified = [
        text.rpartition(":: ")[2] for text in one.metadata.get_all("Classifier") or () if "License ::" in text
    ]
    written = one.metadata.get("License") or ""
    texts = [written] if written and "\n" not in written and len(written) < 60 else classified
    return " AND ".join(_SPDX.get(text.lower(), text) for text in texts) or "not stated"


def licences() -> str:
    """Writes the page."""
    direct_names = {canonicalize_name(one.name) for one in direct()}
    brought = [one for one in shipped() if canonicalize_name(one.name) not in direct_names]
    rows = [f"| {one.name} | {licence_of(one)} |" for one in brought]
    return _HEAD + "\n".join(_direct_table()) + "\n" + _SHIPPED_HEAD + "\n".join(rows) + "\n"


def _direct_table() -> Iterator[str]:
    extras: dict[str, list[str]] = {}
    for one in direct():
        extras.setdefault(one.name, []).append(one.extra or "base")
    yield "| distribution | licence | installed with |"
    yield "|---|---|---|"
    for name in sorted(extras, key=str.lower):
        yield f"| {name} | {_licence_by_name(name)} | {', '.join(dict.fromkeys(extras[name]))} |"


def _licence_by_name(name: str) -> str:
    known = _NOT_INSTALLED.get(canonicalize_name(name))
    return known or licence_of(distribution(name))


def _needs(one: Distribution, extras: Iterable[str]) -> Iterator[Requirement]:
    for text in one.requires or ():
        needed = Requirement(text)
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield needed


def _narrow(file: Path) -> None:
    """Drops from a CycloneDX file what is not shipped, and puts Shortlist itself in as what it is about."""
    made: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    kept = {canonicalize_name(one.name) for one in shipped()}
    refs = {one["bom-ref"] for one in made["components"] if canonicalize_name(one["name"]) in kept}
    own = next((one for one in made["components"] if canonicalize_name(one["name"]) == OWN), None)
    if own is None:
        raise SystemExit(f"{file} does not list {OWN}; make it of an environment where it is installed")
    made["components"] = [one for one in made["components"] if one["bom-ref"] in refs]
    made["metadata"]["component"] = {**own, "type": "application"}
    refs.add(own["bom-ref"])
    made["dependencies"] = [_narrowed(one, refs) for one in made["dependencies"] if one["ref"] in refs]
    file.write_text(json.dumps(made, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{file}: {len(made['components'])} components")


def _narrowed(one: Mapping[str, Any], refs: set[str]) -> dict[str, Any]:
    return {**one, "dependsOn": sorted(refs.intersection(one.get("dependsOn", ())))}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
