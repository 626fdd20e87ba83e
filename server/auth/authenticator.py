"""Says who calls, by what the call brings along; where no keys are set, anyone may."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from shortlist.schemas.errors import InvalidConfiguration, Unauthenticated
from shortlist.server.call import ANONYMOUS, Caller
from shortlist.server.settings import Settings

if TYPE_CHECKING:
    from shortlist.server.auth.keys import ApiKeys, KeyEntry
    from shortlist.server.auth.tokens import Tokens

__all__ = [
    "TOKEN_NAME_PREFIX",
    "AnonymousAuthenticator",
    "Authenticator",
    "KeyAuthenticator",
    "headers_of",
    "make_authenticator",
]

_log = logging.getLogger(__name__)

# Before the subject of a token, so that nobody has a token issued under the name of somebody's API key.
TOKEN_NAME_PREFIX = "jwt:"
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*) *\Z", re.IGNORECASE)
_MAX_CHARS = 8192
_NEEDS_RESTART = "whether callers need a key changes only with a restart"


class Authenticator(Protocol):
    """Tells callers apart; safe to use from one event loop."""

    async def authenticate(self, metadata: Mapping[str, str]) -> Caller:
        """Says who calls, by headers or gRPC metadata as `headers_of` gives them.

        Raises:
            Unauthenticated: there is no key or token, or one that is not known or no longer holds.
            ServerUnavailable: the keys that check tokens cannot be had at present.
        """
        ...

    def reload(self, settings: Settings) -> None:
        """Reads keys anew and takes new limits.

        Raises:
            InvalidConfiguration: they cannot be read; those before stay in force.
        """
        ...


class AnonymousAuthenticator:
    """Lets anyone in, as one anonymous caller with the limits of the settings."""

    def __init__(self, settings: Settings) -> None:
        self.reload(settings)

    async def authenticate(self, metadata: Mapping[str, str]) -> Caller:
        """Takes everybody for the same caller."""
        return self._caller

    def reload(self, settings: Settings) -> None:
        """Takes new limits."""
        if settings.asks_who_calls:
            raise InvalidConfiguration(_NEEDS_RESTART)
        self._caller = Caller(ANONYMOUS.name, settings.rate, settings.burst, settings.max_calls)


class KeyAuthenticator:
    """Lets in who brings an API key or a token, as `authorization: Bearer …`, or a key as `x-api-key: …`."""

    def __init__(self, settings: Settings) -> None:
        self._keys: ApiKeys | None = None
        self._tokens: Tokens | None = None
        self._settings: Settings | None = None
        self.reload(settings)

    async def authenticate(self, metadata: Mapping[str, str]) -> Caller:
        """Finds the caller by key or token."""
        secret, is_bearer = self._secret_in(metadata)
        if self._keys is not None and not (is_bearer and self._is_for_tokens(secret)):
            return self._caller_of(self._keys.find(secret))
        if self._tokens is None or not is_bearer:
            raise Unauthenticated(f"no API keys are taken here; {self._advice}")
        return self._caller(TOKEN_NAME_PREFIX + await self._tokens.subject_of(secret))

    def reload(self, settings: Settings) -> None:
        """Reads keys anew and takes new limits; keys of a URL are kept, and refresh themselves."""
        if not settings.asks_who_calls:
            raise InvalidConfiguration(_NEEDS_RESTART)
        keys = _read_keys(settings)
        is_kept = self._tokens is not None and settings.jwks_url is not None
        tokens = self._tokens if is_kept else _make_tokens(settings)
        self._keys, self._tokens, self._settings = keys, tokens, settings

    def _secret_in(self, metadata: Mapping[str, str]) -> tuple[str, bool]:
        """Returns what the call brings, and whether as a bearer token; a header sent twice is none of the two forms."""
        authorization, api_key = metadata.get("authorization"), metadata.get("x-api-key")
        if authorization is not None and api_key is not None:
            raise Unauthenticated("give authorization or x-api-key, not both")
        if max(len(authorization or ""), len(api_key or "")) > _MAX_CHARS:
            raise Unauthenticated(f"what identifies the caller has more than {_MAX_CHARS} characters")
        if api_key is not None:
            return api_key.strip(" "), False
        if authorization is None:
            raise Unauthenticated(f"this server asks who calls; {self._advice}")
        match = _BEARER.match(authorization.strip(" "))
        if match is None:
            raise Unauthenticated(f"the authorization header has another form than expected; {self._advice}")
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
        """Makes a caller; what is not given is as the settings say."""
        assert self._settings is not None
        return Caller(
            name,
            self._settings.rate if rate is None else rate,
            self._settings.burst if burst is None else burst,
            self._settings.max_calls if max_calls is None else max_calls,
        )


def make_authenticator(settings: Settings) -> Authenticator:
    """Makes the authenticator that the settings ask for.

    Raises:
        InvalidConfiguration: a file of keys cannot be read.
    """
    return KeyAuthenticator(settings) if settings.asks_who_calls else AnonymousAuthenticator(settings)


def headers_of(pairs: Iterable[tuple[str, str | bytes]]) -> dict[str, str]:
    """Gathers text headers by lower-case name; one sent twice has both values, joined as HTTP does (RFC 9110, 5.3).

    Were the first or the last to win, something in front of this server might check the other.
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
        _log.warning("%s: no key in it holds; make one with `shortlist keys add`", settings.keys_file)
    return keys


def _make_tokens(settings: Settings) -> Tokens | None:
    if not settings.jwks_file and not settings.jwks_url:
        return None
    from shortlist.server.auth.jwks import FileKeys, UrlKeys
    from shortlist.server.auth.tokens import Tokens

    keys = FileKeys(settings.jwks_file) if settings.jwks_file else UrlKeys(settings.jwks_url or "")
    return Tokens(keys, issuer=settings.jwt_issuer or "", audience=settings.jwt_audience or "")
