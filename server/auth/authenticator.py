"""Authenticates callers by API key or bearer token; without configured keys, every caller is anonymous."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from shortlist.schemas.errors import InvalidConfiguration, Unauthenticated
from shortlist.server.settings import Settings

if TYPE_CHECKING:
    from shortlist.server.auth.keys import ApiKeys, KeyEntry
    from shortlist.server.auth.tokens import Tokens

__all__ = [
    "ANONYMOUS",
    "TOKEN_NAME_PREFIX",
    "AnonymousAuthenticator",
    "Authenticator",
    "Caller",
    "KeyAuthenticator",
    "headers_of",
    "make_authenticator",
]

_log = logging.getLogger(__name__)

# Prefixed to a token's subject, so that a token cannot pass for an API key of the same name.
TOKEN_NAME_PREFIX = "jwt:"
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*) *\Z", re.IGNORECASE)
_MAX_CHARS = 8192
_NEEDS_RESTART = "a restart is needed to change whether callers need a key or token"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and its limits; 0 means no limit.

    `rate` is in requests a second, `burst` is how many it may send at once after a pause, `max_calls` how many may run
    at the same time.
    """

    name: str
    rate: float = 0.0
    burst: int = 0
    max_calls: int = 0


# Every caller of a server without authentication, and a caller that was not authenticated.
ANONYMOUS = Caller("anonymous")


class Authenticator(Protocol):
    """Finds out who calls; for use from one event loop."""

    async def authenticate(self, metadata: Mapping[str, str]) -> Caller:
        """Returns the caller, given headers or gRPC metadata as `headers_of` returns them.

        Raises:
            Unauthenticated: the key or token is missing, unknown or expired.
            ServerUnavailable: the keys that verify tokens cannot be fetched at present.
        """
        ...

    def reload(self, settings: Settings) -> None:
        """Reads the keys again and applies new limits.

        Raises:
            InvalidConfiguration: the keys cannot be read; the previous ones stay in force.
        """
        ...


class AnonymousAuthenticator:
    """Accepts every call, as one anonymous caller with the limits of the settings."""

    def __init__(self, settings: Settings) -> None:
        self.reload(settings)

    async def authenticate(self, metadata: Mapping[str, str]) -> Caller:
        """Returns the same caller for every call."""
        return self._caller

    def reload(self, settings: Settings) -> None:
        """Applies new limits."""
        if settings.needs_credentials:
            raise InvalidConfiguration(_NEEDS_RESTART)
        self._caller = Caller(ANONYMOUS.name, settings.rate, settings.burst, settings.max_calls)


class KeyAuthenticator:
    """Requires an API key or a token as `authorization: Bearer …`, or an API key as `x-api-key: …`."""

    def __init__(self, settings: Settings) -> None:
        self._keys: ApiKeys | None = None
        self._tokens: Tokens | None = None
        self._settings: Settings | None = None
        self.reload(settings)

    async def authenticate(self, metadata: Mapping[str, str]) -> Caller:
        """Finds the caller by key or token."""
        secret, is_bearer = self._credential_in(metadata)
        if self._keys is not None and not (is_bearer and self._is_for_tokens(secret)):
            return self._caller_of(self._keys.find(secret))
        if self._tokens is None or not is_bearer:
            raise Unauthenticated(f"this server does not accept API keys; {self._advice}")
        return self._caller(TOKEN_NAME_PREFIX + await self._tokens.subject_of(secret))

    def reload(self, settings: Settings) -> None:
        """Reads the keys again and applies new limits; keys from a URL are kept, since they refresh themselves."""
        if not settings.needs_credentials:
            raise InvalidConfiguration(_NEEDS_RESTART)
        keys = _read_keys(settings)
        keeps_tokens = self._tokens is not None and settings.jwks_url is not None
        tokens = self._tokens if keeps_tokens else _make_tokens(settings)
        self._keys, self._tokens, self._settings = keys, tokens, settings

    def _credential_in(self, metadata: Mapping[str, str]) -> tuple[str, bool]:
        """Returns the key or token, and whether it came as a bearer token; a header sent twice matches neither form."""
        authorization, api_key = metadata.get("authorization"), metadata.get("x-api-key")
        if authorization is not None and api_key is not None:
            raise Unauthenticated("give authorization or x-api-key, not both")
        if max(len(authorization or ""), len(api_key or "")) > _MAX_CHARS:
            raise Unauthenticated(f"the key or token has more than {_MAX_CHARS} characters")
        if api_key is not None:
            return api_key.strip(" "), False
        if authorization is None:
            raise Unauthenticated(f"this server needs a key or token; {self._advice}")
        match = _BEARER.match(authorization.strip(" "))
        if match is None:
            raise Unauthenticated(f"the authorization header is malformed; {self._advice}")
        return match[1], True

    @property
    def _advice(self) -> str:
        kinds = [*(["an API key"] if self._keys else []), *(["a bearer token"] if self._tokens else [])]
        return f"give {' or '.join(kinds)}, as `authorization: Bearer …`"

    def _is_for_tokens(self, secret: str) -> bool:
        from shortlist.server.auth.keys import KEY_PREFIX

        return self._tokens is not None and not secret.startswith(KEY_PREFIX)

    def _caller_of(self, entry: KeyEntry) -> Caller:
        return self._caller(entry.name, entry.rate, entry.burst, entry.max_calls)

    def _caller(
        self, name: str, rate: float | None = None, burst: int | None = None, max_calls: int | None = None
    ) -> Caller:
        """Makes a caller; limits that are not given come from the settings."""
        assert self._settings is not None
        return Caller(
            name,
            self._settings.rate if rate is None else rate,
            self._settings.burst if burst is None else burst,
            self._settings.max_calls if max_calls is None else max_calls,
        )


def make_authenticator(settings: Settings) -> Authenticator:
    """Makes the authenticator that the settings describe.

    Raises:
        InvalidConfiguration: a file of keys cannot be read.
    """
    return KeyAuthenticator(settings) if settings.needs_credentials else AnonymousAuthenticator(settings)


def headers_of(pairs: Iterable[tuple[str, str | bytes]]) -> dict[str, str]:
    """Collects text headers by lower-case name; a header sent twice has both values, joined as in RFC 9110, 5.3.

    If only the first or the last counted, a proxy in front of this server might check the other one.
    """
    headers: dict[str, str] = {}
    for name, value in pairs:
        if isinstance(value, str):
            name = name.lower()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _read_keys(settings: Settings) -> ApiKeys | None:
    if settings.keys_file is None:
        return None
    from shortlist.server.auth.keys import ApiKeys, read_keys

    keys = ApiKeys(read_keys(settings.keys_file))
    if not keys.num_active:
        _log.warning("%s: contains no valid key; make one with `shortlist keys add`", settings.keys_file)
    return keys


def _make_tokens(settings: Settings) -> Tokens | None:
    if not settings.jwks_file and not settings.jwks_url:
        return None
    from shortlist.server.auth.jwks import FileKeys, UrlKeys
    from shortlist.server.auth.tokens import Tokens

    keys = FileKeys(settings.jwks_file) if settings.jwks_file else UrlKeys(settings.jwks_url or "")
    return Tokens(keys, issuer=settings.jwt_issuer or "", audience=settings.jwt_audience or "")
