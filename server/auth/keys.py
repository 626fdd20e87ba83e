"""Defines the file of API keys: reads and writes it, makes keys, and finds the entry of a key.

The file is JSON, `{"version": 1, "keys": [...]}`, each key an object with

    id          12 hexadecimal digits, part of the key itself; identifies it in lists and logs, and is not secret
    name        the caller's name: letters, digits and . _ @ -, at most 64; several keys may share it, for rotation
    sha256      the SHA-256 of the whole key, in hexadecimal
    created     when the key was made, in RFC 3339 form
    expires     when the key stops being valid, in RFC 3339 form; absent: valid until it is revoked
    rate, burst, max_calls   limits of its caller; absent: the server's settings of these names apply

A key is `shortlist_ID_SECRET`; the secret is 256 random bits. A plain SHA-256 is therefore enough: the slow hashes used
for passwords make guessing expensive, and nobody can guess one of 2**256 values, however fast the hash.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from shortlist.schemas.errors import InvalidConfiguration, Unauthenticated
from shortlist.server.auth.secret_files import read_bytes, warn_if_exposed

__all__ = [
    "KEY_PREFIX",
    "NAME_PATTERN",
    "ApiKeys",
    "KeyEntry",
    "KeysFile",
    "locked",
    "new_key",
    "read_keys",
    "write_keys",
]

KEY_PREFIX = "shortlist_"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z"
_KEY = re.compile(KEY_PREFIX + r"([0-9a-f]{12})_[A-Za-z0-9_-]{43}\Z")
_SECRET_BYTES = 32
# Compared when there is no entry, so that known and unknown keys take the same time.
_NO_HASH = "0" * 64


class KeyEntry(BaseModel):
    """One key as stored in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    name: Annotated[str, Field(pattern=NAME_PATTERN.replace(r"\Z", "$"))]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", repr=False)]
    created: AwareDatetime
    expires: AwareDatetime | None = None
    rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    burst: Annotated[int, Field(ge=0)] | None = None
    max_calls: Annotated[int, Field(ge=0)] | None = None

    def has_expired(self, now: datetime) -> bool:
        """Whether the key is no longer valid."""
        return self.expires is not None and self.expires <= now


class KeysFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    keys: tuple[KeyEntry, ...] = ()

    @model_validator(mode="after")
    def _check_ids(self) -> KeysFile:
        ids = [entry.id for entry in self.keys]
        if len(set(ids)) < len(ids):
            raise ValueError("two keys have the same id")
        return self


class ApiKeys:
    """The keys of the file as it was read."""

    def __init__(self, file: KeysFile, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._entries = {entry.id: entry for entry in file.keys}
        self._now = now

    @property
    def num_active(self) -> int:
        """How many keys are valid now."""
        return sum(not entry.has_expired(self._now()) for entry in self._entries.values())

    def find(self, key: str) -> KeyEntry:
        """Returns the entry of a key.

        Raises:
            Unauthenticated: the key is unknown or has expired.
        """
        match = _KEY.match(key)
        entry = self._entries.get(match[1]) if match else None
        is_right = hmac.compare_digest(_hash(key), entry.sha256 if entry else _NO_HASH)
        if entry is None or not is_right:
            raise Unauthenticated("the API key is not known here; it may be mistyped or revoked")
        if entry.has_expired(self._now()):
            raise Unauthenticated(f"the API key {entry.id} expired at {entry.expires:%Y-%m-%d %H:%M %Z}; use a new one")
        return entry


def new_key(
    name: str,
    *,
    expires: datetime | None = None,
    rate: float | None = None,
    burst: int | None = None,
    max_calls: int | None = None,
) -> tuple[str, KeyEntry]:
    """Makes a key, and the entry to store for it."""
    key_id = secrets.token_hex(6)
    key = f"{KEY_PREFIX}{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    entry = KeyEntry(
        id=key_id,
        name=name,
        sha256=_hash(key),
        created=datetime.now(UTC).replace(microsecond=0),
        expires=expires,
        rate=rate,
        burst=burst,
        max_calls=max_calls,
    )
    return key, entry


def read_keys(path: Path) -> KeysFile:
    """Reads a file of keys.

    Raises:
        InvalidConfiguration: it cannot be read or is not a file of keys; the text says where.
    """
    text = read_bytes(path)
    warn_if_exposed(path)
    try:
        return KeysFile.model_validate(json.loads(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        reason = first["msg"].removeprefix("Value error, ")
        raise InvalidConfiguration(f"{path}: {place or 'the file'}: {reason}") from None
    except (ValueError, RecursionError):
        # Quotes neither the file nor the parser's error: someone may have named a file of plain secrets.
        raise InvalidConfiguration(f"{path}: is not a JSON file of keys; `shortlist keys add` makes one") from None


def write_keys(path: Path, file: KeysFile) -> None:
    """Replaces a file of keys atomically; a new file has mode 0600, an existing one keeps its owner and mode.

    Raises:
        InvalidConfiguration: it cannot be written.
    """
    path = path.resolve()
    text = json.dumps(file.model_dump(mode="json", exclude_none=True), indent=2) + "\n"
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            if path.exists():
                _copy_owner_and_mode(path, temporary)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise InvalidConfiguration(f"{path}: cannot be written: {error.strerror}") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keeps other processes from changing the file; locks its folder, because the file itself is replaced.

    Raises:
        InvalidConfiguration: there is no such folder.
    """
    import fcntl  # missing on some systems that run the client

    folder = path.resolve().parent
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise InvalidConfiguration(f"{folder}: cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _copy_owner_and_mode(path: Path, temporary: str) -> None:
    found = path.stat()
    if (found.st_uid, found.st_gid) != (os.getuid(), os.getgid()):
        os.chown(temporary, found.st_uid, found.st_gid)
    os.chmod(temporary, found.st_mode & 0o7777)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
