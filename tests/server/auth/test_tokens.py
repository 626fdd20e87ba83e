from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from certificates import AUDIENCE, ISSUER, Signer, ec_signer, public_pem, rsa_signer, write_jwks
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shortlist.schemas.errors import InvalidConfiguration, ServerUnavailable, Unauthenticated
from shortlist.server.auth import jwks
from shortlist.server.auth.jwks import FileKeys, SigningKeys, UrlKeys, VerifyingKey, parse_jwks
from shortlist.server.auth.tokens import Tokens

RSA = rsa_signer()
EC = ec_signer("two")


class HeldKeys:
    """Keys in memory."""

    def __init__(self, *entries: dict[str, Any]) -> None:
        self._keys = parse_jwks(json.dumps({"keys": entries}).encode(), where="here")

    async def find(self, kid: str | None, algorithm: str) -> VerifyingKey | None:
        return jwks._pick(self._keys, kid, algorithm)


def subject_of(token: str, keys: SigningKeys | None = None) -> str:
    tokens = Tokens(keys or HeldKeys(RSA.jwk(), EC.jwk()), issuer=ISSUER, audience=AUDIENCE)
    return asyncio.run(tokens.subject_of(token))


def encoded(part: dict[str, Any] | bytes) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(header: dict[str, Any], sign: Callable[[bytes], bytes] = lambda _: b"") -> str:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": time.time() + 86_400}
    signed = f"{encoded(header)}.{encoded(claims)}"
    return f"{signed}.{encoded(sign(signed.encode()))}"


def with_public_key_as_secret(signed: bytes) -> bytes:
    return hmac.new(public_pem(RSA.key), signed, hashlib.sha256).digest()


def tampered(token: str, **claims: Any) -> str:
    header, body, signature = token.split(".")
    held = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return f"{header}.{encoded({**held, **claims})}.{signature}"


@pytest.mark.parametrize(
    "signer",
    [
        pytest.param(RSA, id="RS256"),
        pytest.param(Signer(RSA.key, "PS512"), id="PS512"),
        pytest.param(EC, id="ES256"),
        pytest.param(Signer(Ed25519PrivateKey.generate(), "EdDSA"), id="EdDSA"),
    ],
)
def test_a_valid_token_gives_its_subject(signer: Signer) -> None:
    assert subject_of(signer.token(), HeldKeys(signer.jwk())) == "alice"


@pytest.mark.parametrize(("claim", "seconds"), [("exp", -5), ("nbf", 5)], ids=["just expired", "valid in a moment"])
def test_clocks_may_differ_slightly(claim: str, seconds: float) -> None:
    assert subject_of(RSA.token(**{claim: time.time() + seconds})) == "alice"


def test_a_token_may_be_for_several_audiences() -> None:
    assert subject_of(RSA.token(aud=["other", AUDIENCE])) == "alice"


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        pytest.param(RSA.token(iss="https://other.example"), "issuer", id="wrong issuer"),
        pytest.param(RSA.token(iss=None), "lacks the claim iss", id="no issuer"),
        pytest.param(RSA.token(aud="other"), "another audience", id="wrong audience"),
        pytest.param(RSA.token(aud=None), "lacks the claim aud", id="no audience"),
        pytest.param(RSA.token(exp=time.time() - 60), "expired", id="expired"),
        pytest.param(RSA.token(exp=None), "lacks the claim exp", id="no expiry"),
        pytest.param(RSA.token(nbf=time.time() + 86_400), "not valid yet", id="not valid yet"),
        pytest.param(RSA.token(sub=None), "lacks the claim sub", id="no subject"),
        pytest.param(RSA.token(sub=""), "subject", id="empty subject"),
        pytest.param(RSA.token(sub="a" * 129), "subject", id="long subject"),
        pytest.param(RSA.token(sub="a\nINFO b"), "subject", id="line break in the subject"),
        pytest.param(forged({"alg": "none", "kid": "one"}), "must be signed", id="alg none"),
        pytest.param(forged({"alg": "nOnE", "kid": "one"}), "must be signed", id="alg none in disguise"),
        pytest.param(
            forged({"alg": "HS256", "kid": "one"}, with_public_key_as_secret), "must be signed", id="HS256, public key"
        ),
        pytest.param(forged({"alg": "RS256", "kid": "one"}), "signature is wrong", id="no signature"),
        pytest.param(forged({"alg": "ES256", "kid": "one"}), "not known here", id="algorithm of another kind of key"),
        pytest.param(forged({"alg": ["RS256"], "kid": "one"}), "must be signed", id="alg is a list"),
        pytest.param(forged({"alg": "RS256", "kid": 5}), "cannot be checked", id="kid is a number"),
        pytest.param(
            forged({"alg": "RS256", "kid": "one", "crit": ["b64"], "b64": True}), "crit", id="critical header known"
        ),
        pytest.param(
            forged({"alg": "RS256", "kid": "one", "crit": ["x"], "x": 1}), "cannot be checked", id="critical header"
        ),
        pytest.param(rsa_signer("unknown").token(), "not known here", id="unknown kid"),
        pytest.param(rsa_signer("one").token(), "signature is wrong", id="signed by another"),
        pytest.param(RSA.token()[:-20] + 20 * "A", "signature is wrong", id="damaged"),
        pytest.param(tampered(RSA.token(), sub="root"), "signature is wrong", id="tampered"),
        pytest.param("abc", "not a valid JSON Web Token", id="not a token"),
        pytest.param("a.b.c", "not a valid JSON Web Token", id="not base64"),
        pytest.param(
            f"{encoded(b'[' * 5000)}.e30.e30", "not a valid JSON Web Token|cannot be checked", id="deeply nested header"
        ),
        pytest.param(f"{encoded(b'[]')}.e30.e30", "not a valid JSON Web Token", id="header is a list"),
    ],
)
def test_an_invalid_token_is_rejected_with_the_reason(token: str, reason: str) -> None:
    with pytest.raises(Unauthenticated, match=reason) as caught:
        subject_of(token)
    assert token not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_token_without_key_id_is_accepted_if_only_one_key_fits() -> None:
    unnamed = Signer(RSA.key, "RS256", None)
    assert subject_of(unnamed.token()) == "alice"
    with pytest.raises(Unauthenticated, match="not known here"):
        subject_of(unnamed.token(), HeldKeys(RSA.jwk(), rsa_signer("three").jwk()))


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param({"kty": "oct", "k": "c2VjcmV0", "kid": "one", "alg": "HS256"}, id="symmetric"),
        pytest.param(RSA.jwk(use="enc"), id="for encryption"),
        pytest.param(RSA.jwk(key_ops=["encrypt"]), id="not for checking"),
        pytest.param(RSA.jwk(alg="HS256"), id="algorithm of another kind"),
        pytest.param(rsa_signer(bits=1024).jwk(), id="short"),
        pytest.param(RSA.jwk(n="!"), id="damaged"),
        pytest.param(RSA.jwk(alg="none"), id="unsigned"),
        pytest.param(RSA.jwk(alg=["RS256"]), id="algorithm is a list"),
    ],
)
def test_a_key_that_cannot_verify_tokens_is_skipped(entry: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfiguration, match="no RSA, EC or EdDSA key"):
        HeldKeys(entry)
    assert subject_of(EC.token(), HeldKeys(entry, EC.jwk())) == "alice"


def test_a_key_with_an_algorithm_is_used_only_for_that() -> None:
    with pytest.raises(Unauthenticated, match="not known here"):
        subject_of(RSA.token(), HeldKeys(RSA.jwk(alg="RS512")))


def test_a_key_set_with_a_private_key_is_rejected_without_showing_it() -> None:
    with pytest.raises(InvalidConfiguration, match="private") as caught:
        HeldKeys(RSA.jwk(d="c2VjcmV0"))
    assert "c2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"keys": 5}', b"\xff", b"[" * 100_000], ids=repr)
def test_text_that_is_not_a_key_set_is_rejected(text: bytes) -> None:
    with pytest.raises(InvalidConfiguration, match="here: is not a JWK set"):
        parse_jwks(text, where="here")


def test_a_file_of_keys_is_read_again_when_it_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    path = write_jwks(tmp_path / "jwks.json", RSA.jwk())
    keys = FileKeys(path)
    with pytest.raises(Unauthenticated, match="not known here"):
        subject_of(EC.token(), keys)
    write_jwks(path, RSA.jwk(), EC.jwk())
    assert subject_of(EC.token(), keys) == "alice"
    path.write_text('{"keys": [')
    assert [subject_of(EC.token(), keys), subject_of(RSA.token(), keys)] == ["alice", "alice"]
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]


class Site:
    """Replaces the download: counts fetches, and serves `keys` or fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *keys: dict[str, Any]) -> None:
        self.keys, self.num_fetched, self.is_down, self.now = keys, 0, False, 1000.0
        monkeypatch.setattr(jwks, "_download", self.download)
        monkeypatch.setattr(jwks.time, "monotonic", lambda: self.now)

    def download(self, _: str) -> bytes:
        self.num_fetched += 1
        if self.is_down:
            raise OSError("no route")
        return json.dumps({"keys": self.keys}).encode()


def test_keys_of_a_url_are_fetched_once_for_many_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch, RSA.jwk())
    tokens = Tokens(UrlKeys("https://x"), issuer=ISSUER, audience=AUDIENCE)

    async def ask() -> list[str]:
        return await asyncio.gather(*(tokens.subject_of(RSA.token()) for _ in range(5)))

    assert (asyncio.run(ask()), site.num_fetched) == (["alice"] * 5, 1)


def test_an_unknown_key_id_fetches_the_url_again_but_not_repeatedly(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch, RSA.jwk())
    keys = UrlKeys("https://x")
    assert subject_of(RSA.token(), keys) == "alice"
    site.keys = (RSA.jwk(), EC.jwk())
    with pytest.raises(Unauthenticated, match="not known here"):
        subject_of(EC.token(), keys)
    site.now += 11
    assert (subject_of(EC.token(), keys), site.num_fetched) == ("alice", 2)


def test_old_keys_of_a_url_are_used_while_new_ones_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch, RSA.jwk())
    keys = UrlKeys("https://x")
    tokens = Tokens(keys, issuer=ISSUER, audience=AUDIENCE)

    async def ask() -> str:
        await tokens.subject_of(RSA.token())
        site.keys, site.now = (EC.jwk(),), site.now + 601
        subject = await tokens.subject_of(RSA.token())
        assert keys._fetching is not None
        await keys._fetching
        with pytest.raises(Unauthenticated, match="not known here"):
            await tokens.subject_of(RSA.token())
        return subject

    assert asyncio.run(ask()) == "alice"


def test_an_unreachable_issuer_is_not_the_callers_fault(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(monkeypatch, RSA.jwk())
    site.is_down = True
    keys = UrlKeys("https://x")
    with pytest.raises(ServerUnavailable, match="try again") as caught:
        subject_of(RSA.token(), keys)
    assert caught.value.retry_seconds == 10
    assert "cannot be fetched: no route" in caplog.text
    site.is_down, site.now = False, site.now + 11
    assert subject_of(RSA.token(), keys) == "alice"
    site.is_down, site.now = True, site.now + 3600
    assert subject_of(RSA.token(), keys) == "alice"
    site.now += 86_400
    with pytest.raises(ServerUnavailable):
        subject_of(RSA.token(), keys)
