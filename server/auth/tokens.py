"""Checks bearer tokens: JSON Web Tokens (RFC 7519) that the configured issuer signed for this service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jwt

from shortlist.schemas.errors import Unauthenticated
from shortlist.server.auth.jwks import ALGORITHMS, SigningKeys, VerifyingKey

__all__ = ["Tokens"]

# How far the issuer's clock and ours may differ.
_LEEWAY_SECONDS = 30
_MAX_SUBJECT_CHARS = 128
# The first class that matches an error gives the text. The texts help an honest caller without saying which issuer or
# audience would be accepted.
_REASONS: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "the token expired; get a new one"),
    (jwt.ImmatureSignatureError, "the token is not valid yet; check the clocks"),
    (jwt.InvalidIssuerError, "the token's issuer is not trusted here"),
    (jwt.InvalidAudienceError, "the token is for another audience"),
    (jwt.InvalidSignatureError, "the token's signature is wrong"),
    (jwt.DecodeError, "this is not a valid JSON Web Token"),
)


class Tokens:
    """Verifies tokens and reads their subject; a token must name `issuer` and `audience`."""

    def __init__(self, keys: SigningKeys, *, issuer: str, audience: str) -> None:
        self._keys = keys
        self._issuer, self._audience = issuer, audience

    async def subject_of(self, token: str) -> str:
        """Returns the subject of a valid token.

        Raises:
            Unauthenticated: the token is not valid; the text says why.
            ServerUnavailable: the keys that verify tokens cannot be fetched at present.
        """
        with _as_unauthenticated():
            header = jwt.get_unverified_header(token)
        key = await self._key_for(header)
        with _as_unauthenticated():
            claims = self._claims_of(token, key)
        return _subject_in(claims)

    async def _key_for(self, header: dict[str, Any]) -> VerifyingKey:
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS:
            raise Unauthenticated(f"the token must be signed with one of {', '.join(ALGORITHMS)}")
        if "crit" in header:
            raise Unauthenticated("the token's header requires an unsupported extension (crit)")
        key = await self._keys.find(kid, algorithm)
        if key is None:
            raise Unauthenticated("the token is signed with a key that is not known here (kid, alg)")
        return key

    def _claims_of(self, token: str, key: VerifyingKey) -> dict[str, Any]:
        claims: dict[str, Any] = jwt.decode(
            token,
            key.key,
            algorithms=list(key.algorithms),
            issuer=self._issuer,
            audience=self._audience,
            leeway=_LEEWAY_SECONDS,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
        return claims


@contextmanager
def _as_unauthenticated() -> Iterator[None]:
    try:
        yield
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
        # Without the cause: its text may quote the token.
        raise Unauthenticated(_reason(error)) from None


def _reason(error: Exception) -> str:
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"the token lacks the claim {error.claim}"
    return next((text for kind, text in _REASONS if isinstance(error, kind)), "the token cannot be checked")


def _subject_in(claims: dict[str, Any]) -> str:
    subject = claims["sub"]
    if not isinstance(subject, str) or not 1 <= len(subject) <= _MAX_SUBJECT_CHARS or not subject.isprintable():
        raise Unauthenticated(f"the token's subject (sub) must be 1 to {_MAX_SUBJECT_CHARS} printable characters")
    return subject
