from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from shortlist.router.checkpoints.hub import download
from shortlist.schemas.errors import ModelNotFound


@pytest.fixture
def requested(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Replaces the hub and records what was requested of it."""
    given: dict[str, Any] = {}

    def snapshot_download(repo_id: str, **options: Any) -> str:
        given.update(options, repo_id=repo_id)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return given


def test_only_the_cache_is_searched_unless_a_download_is_allowed(requested: dict[str, Any], tmp_path: Path) -> None:
    assert download("someone/ranker") == tmp_path
    assert requested["local_files_only"] is True


def test_an_allowed_download_takes_the_revision_and_neither_pickles_nor_code(requested: dict[str, Any]) -> None:
    download("someone/ranker", revision="abc123", allow_download=True)

    assert (requested["repo_id"], requested["revision"], requested["local_files_only"]) == (
        "someone/ranker",
        "abc123",
        False,
    )
    assert (
        _kept(requested, "model.safetensors", "config.json", "tokenizer.json", "sentencepiece.bpe.model", "README.md")
        == 5
    )
    assert (
        _kept(requested, "pytorch_model.bin", "modeling_x.py", "onnx/model.onnx", "onnx/config.json", "x.pt", "x.pkl")
        == 0
    )


def test_a_model_that_is_not_cached_says_how_to_allow_the_download(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))

    with pytest.raises(
        ModelNotFound, match=r"'someone/ranker' at revision 'v1'.*--allow-download, allow_download=True"
    ):
        download("someone/ranker", revision="v1")


def test_an_invalid_hub_name_is_an_error() -> None:
    with pytest.raises(ModelNotFound, match="neither a folder nor a name on the hub"):
        download("no/such/place/on the hub")


def test_a_hub_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(*_: Any, **__: Any) -> str:
        raise OSError("401: the repository is gated")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)

    with pytest.raises(ModelNotFound, match="could not be downloaded: 401"):
        download("someone/ranker", allow_download=True)


def test_without_the_hubs_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)

    with pytest.raises(ModelNotFound, match=r"install the extra \[hub\]"):
        download("someone/ranker")


def _kept(requested: dict[str, Any], *files: str) -> int:
    filtered = huggingface_hub.utils.filter_repo_objects(
        files, allow_patterns=requested["allow_patterns"], ignore_patterns=requested["ignore_patterns"]
    )
    return len(list(filtered))
