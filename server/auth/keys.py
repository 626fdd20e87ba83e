"""Defines the file of API keys: reads it, writes it, makes keys, and tells whose key a call brings.

The file is JSON, `{"version": 1, "keys": [...]}`, each key an object with

    id          12 hexadecimal digits, part of the key itself; names it in lists and logs, and is no secret
    name        whose key it is: letters, digits and . _ @ -, at most 64; several keys may have the same, to rotate
    sha256      the SHA-256 of the whole key, in hexadecimal
    created     when it was made, as RFC 3339
    expires     from when on it does not hold, as RFC 3339; absent: it holds until it is revoked
    rate, burst, max_calls   what its caller may send; absent: as the server's settings of these names say

A key is `shortlist_ID_SECRET`, the secret 256 random bits. That is why a plain SHA-256 is right here: the slow hashes
that guard passwords make guessing dear, and nobody guesses one of 2**256 values, however fast the hash.
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
# Stands for the hash of a key that is not there, so that both cases take the same time.
_NO_HASH = "0" * 64


class KeyEntry(BaseModel):
    """One key as the file holds it."""

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
        """Whether it no longer holds."""
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
    """Finds a key among those of one state of the file."""

    def __init__(self, file: KeysFile, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._entries = {entry.id: entry for entry in file.keys}
        self._now = now

    @property
    def num_active(self) -> int:
        """How many keys hold now."""
        return sum(not entry.has_expired(self._now()) for entry in self._entries.values())

    def find(self, key: str) -> KeyEntry:
        """Returns the entry of a key.

        Raises:
            Unauthenticated: there is none, or it has expired.
        """
        match = _KEY.match(key)
        entry = self._entries.get(match[1]) if match else None
        is_right = hmac.compare_digest(_hash(key), entry.sha256 if entry else _NO_HASH)
        if entry is None or not is_right:
            raise Unauthenticated("the API key is not known here; it may be mistyped, or revoked")
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
    """Makes a key, and the entry by which it is known."""
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
        InvalidConfiguration: it cannot be read, or is no such file; the text says where.
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
        # Neither the text nor the error that quotes it is told: someone may have named a file of bare secrets.
        raise InvalidConfiguration(f"{path}: is no file of keys in JSON; `shortlist keys add` makes one") from None


def write_keys(path: Path, file: KeysFile) -> None:
    """Replaces a file of keys at one stroke; a new one is for its owner alone, an old one keeps owner and mode.

    Raises:
        InvalidConfiguration: it cannot be written.
    """
    path = path.resolve()
    text = json.dumps(file.model_dump(mode="json", exclude_none=True), indent=2) + "\n"
    try:
        descriptor, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            if path.exists():
                _take_over(path, made)
            os.replace(made, path)
        except BaseException:
            os.unlink(made)
            raise
    except OSError as error:
        raise InvalidConfiguration(f"{path}: cannot be written: {error.strerror}") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds off others that change the file through here; the folder is what is locked, since the file is replaced.

    Raises:
        InvalidConfiguration: there is no such folder.
    """
    import fcntl  # not on every system that the client runs on

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


def _take_over(path: Path, made: str) -> None:
    found = path.stat()
    if (found.st_uid, found.st_gid) != (os.getuid(), os.getgid()):
        os.chown(made, found.st_uid, found.st_gid)
    os.chmod(made, found.st_mode & 0o7777)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
