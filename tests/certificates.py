"""Makes certificate authorities and certificates for tests, and the keys and tokens of an issuer."""

from __future__ import annotations

import datetime
import ipaddress
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)
ISSUER, AUDIENCE = "https://issuer.example", "shortlist"


class Authority:
    """Signs certificates, for 127.0.0.1 and localhost unless another host is named; `path` is its own, in PEM form."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder, self._name, self._key = folder, name, ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(name, self._key, is_authority=True)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(pem(self.certificate))

    def issue(self, name: str, *, is_valid: bool = True, host: str = "") -> tuple[Path, Path]:
        """Writes a certificate and its key, and returns where."""
        key = ec.generate_private_key(ec.SECP256R1())
        paths = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        paths[0].write_bytes(pem(self._sign(name, key, is_valid=is_valid, host=host)))
        paths[1].write_bytes(private_pem(key))
        paths[1].chmod(0o600)
        return paths

    def _sign(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        *,
        is_authority: bool = False,
        is_valid: bool = True,
        host: str = "",
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        own = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        names = [x509.DNSName(host)] if host else own
        return (
            x509.CertificateBuilder()
            .subject_name(common_name(name))
            .issuer_name(common_name(self._name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * DAY)
            .not_valid_after(now + (DAY if is_valid else -DAY))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(usage(is_authority=is_authority), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def usage(*, is_authority: bool) -> x509.KeyUsage:
    """What strict checks ask of an authority: that it may sign certificates."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def private_pem(key: Any, passphrase: bytes = b"") -> bytes:
    locked = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))


def public_pem(key: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(key.public_key().public_bytes(serialization.Encoding.PEM, form))


@dataclass
class Signer:
    """A private key of an issuer, and its entry in a JWK set."""

    key: Any
    algorithm: str
    kid: str | None = "one"

    def token(self, *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """Signs a good token, with claims added, changed or, where None, left out."""
        whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": time.time() + 86_400, **claims}
        kept = {name: value for name, value in whole.items() if value is not None}
        named = {} if self.kid is None else {"kid": self.kid}
        return jwt.encode(kept, self.key, self.algorithm, headers={**named, **(headers or {})})

    def jwk(self, **fields: Any) -> dict[str, Any]:
        made = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.key.public_key(), as_dict=True)
        made.pop("key_ops", None)
        return {**made, "use": "sig", **({} if self.kid is None else {"kid": self.kid}), **fields}


def rsa_signer(kid: str | None = "one", *, bits: int = 2048) -> Signer:
    return Signer(rsa.generate_private_key(65537, bits), "RS256", kid)


def ec_signer(kid: str | None = "one") -> Signer:
    return Signer(ec.generate_private_key(ec.SECP256R1()), "ES256", kid)


def write_jwks(path: Path, *keys: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"keys": list(keys)}))
    return path
