"""Reads the public keys that verify bearer tokens, from a JWKS (RFC 7517) in a file or at a URL.

PyJWT decodes each key (`PyJWK`), but not the set: its `PyJWKSet` keeps symmetric, private, encryption and 1,024-bit RSA
keys, raises TypeError or NotImplementedError on some malformed `alg`, and allows an RSA key without `alg` RS256 only.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from shortlist.schemas.errors import InvalidConfiguration, ServerUnavailable
from shortlist.server.auth.secret_files import read_bytes, stamp_of

__all__ = ["ALGORITHMS", "FileKeys", "SigningKeys", "UrlKeys", "VerifyingKey", "parse_jwks"]

_log = logging.getLogger(__name__)

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_BY_CURVE = {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",), "Ed25519": ("EdDSA",), "Ed448": ("EdDSA",)}
# Asymmetric algorithms only: a key that verifies must not be able to sign.
ALGORITHMS = (*_RSA, "ES256", "ES384", "ES512", "EdDSA")
_LEAST_RSA_BITS = 2048

_SOCKET_SECONDS = 5.0
_FETCH_SECONDS = 10.0
# Keys from a URL are fetched again in the background after the first of these, and no longer used after the second.
_FRESH_SECONDS = 600.0
_TRUST_SECONDS = 86_400.0
# The least time between two fetches: tokens with invented key ids must not make the server fetch without end.
_PAUSE_SECONDS = 10.0
_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key and the algorithms that it may verify."""

    kid: str | None
    key: Any
    algorithms: tuple[str, ...]


class SigningKeys(Protocol):
    """Finds the issuer's keys; for use from one event loop."""

    async def find(self, kid: str | None, algorithm: str) -> VerifyingKey | None:
        """Returns the key with this id, or, without an id, the only key for this algorithm; None if there is none.

        Raises:
            ServerUnavailable: the keys cannot be fetched at present.
        """
        ...


class FileKeys:
    """The keys in a file, read again when it changes; if it cannot be read, the previous keys stay valid."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = stamp_of(path)
        self._keys = self._read()

    async def find(self, kid: str | None, algorithm: str) -> VerifyingKey | None:
        """Finds a key."""
        stamp = stamp_of(self._path)
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._keys = self._read()
                _log.info("reloaded the signing keys from %s", self._path)
            except InvalidConfiguration as error:
                _log.warning("%s; the previous signing keys remain in use", error)
        return _pick(self._keys, kid, algorithm)

    def _read(self) -> tuple[VerifyingKey, ...]:
        return parse_jwks(read_bytes(self._path), where=str(self._path))


class UrlKeys:
    """The keys at an https URL, fetched when first needed, when they are old, and for an unknown key id."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: tuple[VerifyingKey, ...] = ()
        self._fetched = self._requested = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str) -> VerifyingKey | None:
        """Finds a key."""
        age = time.monotonic() - self._fetched
        if age > _TRUST_SECONDS:
            await self._fetch()
            if time.monotonic() - self._fetched > _TRUST_SECONDS:
                raise ServerUnavailable(
                    "the server cannot fetch the keys that verify tokens at the moment; try again later",
                    retry_seconds=_PAUSE_SECONDS,
                )
        elif age > _FRESH_SECONDS:
            self._begin()
        found = _pick(self._keys, kid, algorithm)
        if found is None:
            await self._fetch()
            found = _pick(self._keys, kid, algorithm)
        return found

    async def _fetch(self) -> None:
        """Fetches, or waits for a running fetch; does nothing if the last one was too recent."""
        self._begin()
        if self._fetching is not None:
            await asyncio.shield(self._fetching)  # a caller that leaves must not cancel it for the others

    def _begin(self) -> None:
        is_running = self._fetching is not None and not self._fetching.done()
        if not is_running and time.monotonic() - self._requested >= _PAUSE_SECONDS:
            self._requested = time.monotonic()
            self._fetching = asyncio.create_task(self._replace())

    async def _replace(self) -> None:
        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                text = await asyncio.to_thread(_download, self._url)
            self._keys = parse_jwks(text, where="jwks_url")
            self._fetched = time.monotonic()
        except InvalidConfiguration as error:
            _log.warning("%s", error)
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            _log.warning("jwks_url: cannot be fetched: %s", str(reason) or type(reason).__name__)


def parse_jwks(text: bytes, *, where: str) -> tuple[VerifyingKey, ...]:
    """Reads a JWK set; leaves out keys that cannot verify a token, with a warning if they look as if they should.

    Raises:
        InvalidConfiguration: it is not a JWK set, has no usable key, or contains a private one; the text names `where`.
    """
    try:
        entries = json.loads(text)["keys"]
        found = [_verifying_key(entry, where) for entry in entries if isinstance(entry, dict)]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InvalidConfiguration(f"{where}: is not a JWK set in JSON") from None
    keys = tuple(key for key in found if key is not None)
    if not keys:
        raise InvalidConfiguration(f"{where}: has no RSA, EC or EdDSA key that can verify signatures")
    return keys


def _verifying_key(entry: dict[str, Any], where: str) -> VerifyingKey | None:
    algorithms = _algorithms_of(entry)
    if not algorithms or entry.get("use", "sig") != "sig" or "verify" not in entry.get("key_ops", ["verify"]):
        return None
    kid = entry.get("kid")
    if "d" in entry:
        raise InvalidConfiguration(
            f"{where}: key {kid!r} is private; replace the key pair, and give only the public key"
        )
    try:
        key = jwt.PyJWK(entry, algorithms[0]).key
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        _log.warning("%s: ignored key %r: %s", where, kid, type(error).__name__)
        return None
    if isinstance(key, RSAPublicKey) and key.key_size < _LEAST_RSA_BITS:
        _log.warning("%s: ignored key %r: an RSA key needs at least %d bits", where, kid, _LEAST_RSA_BITS)
        return None
    return VerifyingKey(kid if isinstance(kid, str) else None, key, algorithms)


def _algorithms_of(entry: dict[str, Any]) -> tuple[str, ...]:
    kind = entry.get("kty")
    fitting = _RSA if kind == "RSA" else _BY_CURVE.get(str(entry.get("crv")), ()) if kind in ("EC", "OKP") else ()
    named = entry.get("alg")
    return fitting if named is None else tuple(name for name in fitting if name == named)


def _pick(keys: Sequence[VerifyingKey], kid: str | None, algorithm: str) -> VerifyingKey | None:
    fitting = [key for key in keys if algorithm in key.algorithms and kid in (None, key.kid)]
    is_clear = kid is not None or len(fitting) == 1
    return fitting[0] if fitting and is_clear else None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: one could lead away from https."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> NoReturn:
        raise urllib.error.URLError("it redirects; give the final address of the keys")


def _download(url: str) -> bytes:
    secure = urllib.request.HTTPSHandler(context=ssl.create_default_context())
    opener = urllib.request.build_opener(secure, _NoRedirects)
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    with opener.open(request, timeout=_SOCKET_SECONDS) as response:
        text: bytes = response.read(_MAX_BYTES + 1)
    if len(text) > _MAX_BYTES:
        raise InvalidConfiguration(f"jwks_url: has more than {_MAX_BYTES} bytes")
    return text
