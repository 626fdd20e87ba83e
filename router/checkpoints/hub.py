"""Finds a published checkpoint in the local cache of the Hugging Face hub, or downloads it if allowed."""

from __future__ import annotations

from pathlib import Path

from shortlist.schemas.errors import ModelNotFound

__all__ = ["download"]

# Weights as safetensors, configuration and tokenizer; neither pickles nor code.
_ALLOWED = ("*.safetensors", "*.json", "*.txt", "*.model", "README.md")
_IGNORED = ("*/*", "*.bin", "*.py")  # subfolders hold the same weights for other programs


def download(repo_id: str, *, revision: str | None = None, allow_download: bool = False) -> Path:
    """Returns the folder of a model; without `allow_download` only the local cache is searched.

    `revision` is a commit, tag or branch; a commit pins the exact files.

    Raises:
        ModelNotFound: it is not cached and may not be downloaded, does not exist, the hub cannot be reached, or
            huggingface-hub is not installed.
    """
    try:
        from huggingface_hub import snapshot_download  # slow to import, and only hub models need it
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise ModelNotFound(
            f"{repo_id!r} is not a folder, and searching the hub needs huggingface-hub; install the extra [hub]"
        ) from error
    try:
        folder = snapshot_download(
            repo_id,
            revision=revision,
            local_files_only=not allow_download,
            allow_patterns=list(_ALLOWED),
            ignore_patterns=list(_IGNORED),
        )
    except HFValidationError as error:
        raise ModelNotFound(f"{repo_id!r} is neither a folder nor a name on the hub (owner/model)") from error
    except LocalEntryNotFoundError as error:
        raise ModelNotFound(_not_here(repo_id, revision, allow_download)) from error
    except OSError as error:  # base class of the hub's own errors (no such repository, gated, HTTP)
        raise ModelNotFound(f"{repo_id!r} could not be downloaded: {error}") from error
    return Path(folder)


def _not_here(repo_id: str, revision: str | None, allow_download: bool) -> str:
    which = f"{repo_id!r}" + (f" at revision {revision!r}" if revision else "")
    if allow_download:
        return f"{which} is not in the local cache, and the hub cannot be reached"
    return (
        f"{which} is neither a folder nor in the local cache of the hub; allow the download "
        "(--allow-download, allow_download=True) or give the folder of a copy"
    )
