"""Sets up TLS for the server's ports, with client certificates if `tls_client_ca` is set.

Every handshake checks whether the files have changed and reads them again if so; new connections get a renewed
certificate without a restart. If the files do not match, for example while they are being replaced one by one, the
last good ones stay in force.
"""

from __future__ import annotations

import logging
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import grpc

from shortlist.schemas.errors import InvalidConfiguration
from shortlist.server.auth.secret_files import read_bytes, stamp_of, warn_if_exposed
from shortlist.server.settings import Settings

__all__ = ["server_credentials", "ssl_context"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A valid set of files: as bytes for gRPC, as a context for all other ports."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None
    context: ssl.SSLContext

    def for_grpc(self) -> grpc.ServerCertificateConfiguration:
        pairs = [(self.key, self.certificate)]
        return grpc.ssl_server_certificate_configuration(pairs, root_certificates=self.client_ca)


def server_credentials(settings: Settings) -> grpc.ServerCredentials:
    """Makes the credentials of a gRPC port; the settings must have `tls_certificate`.

    Raises:
        InvalidConfiguration: a file cannot be used; the text names it.
    """
    files = _Files(settings)
    return grpc.dynamic_ssl_server_credentials(
        files.current().for_grpc(),
        lambda: files.current().for_grpc(),
        require_client_authentication=settings.tls_client_ca is not None,
    )


def ssl_context(settings: Settings) -> ssl.SSLContext:
    """Makes the context of any other port, which follows the files; the settings must have `tls_certificate`.

    Raises:
        InvalidConfiguration: a file cannot be used; the text names it.
    """
    files = _Files(settings)
    context = files.current().context

    def follow(connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = files.current().context

    # Called for every handshake, even if the client names no server.
    context.sni_callback = follow
    return context


class _Files:
    """The certificate files, read again when they change; safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        assert settings.tls_certificate is not None
        assert settings.tls_key is not None
        self._certificate, self._key = settings.tls_certificate, settings.tls_key
        self._client_ca = settings.tls_client_ca
        self._paths = [path for path in (self._certificate, self._key, self._client_ca) if path is not None]
        self._lock = threading.Lock()
        self._stamps = [stamp_of(path) for path in self._paths]
        self._loaded = self._load()
        warn_if_exposed(self._key)

    def current(self) -> _Loaded:
        """Returns the latest valid set of files."""
        with self._lock:
            stamps = [stamp_of(path) for path in self._paths]
            if stamps != self._stamps:
                self._stamps = stamps
                try:
                    self._loaded = self._load()
                    _log.info("reloaded the certificate from %s", self._certificate)
                except InvalidConfiguration as error:
                    _log.warning("%s; the previous certificate stays in force", error)
            return self._loaded

    def _load(self) -> _Loaded:
        before = [read_bytes(path) for path in self._paths]
        context = self._make_context()
        if before != [read_bytes(path) for path in self._paths]:
            raise InvalidConfiguration(f"{self._certificate}: it or its key changed while being read")
        return _Loaded(before[0], before[1], before[2] if self._client_ca else None, context)

    def _make_context(self) -> ssl.SSLContext:
        _check_certificates(self._certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self._certificate, self._key, password=self._refuse_passphrase)
        except ssl.SSLError as error:
            if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
                raise InvalidConfiguration(f"{self._key}: is not the key of {self._certificate}") from error
            raise InvalidConfiguration(f"{self._key}: contains no private key in PEM form") from error
        if self._client_ca:
            _check_certificates(self._client_ca)
            context.load_verify_locations(self._client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
            # A resumed session would skip the check against a changed authority.
            context.options |= ssl.OP_NO_TICKET
            context.num_tickets = 0
        return context

    def _refuse_passphrase(self) -> NoReturn:
        raise InvalidConfiguration(f"{self._key}: has a passphrase; give a key without one, and protect the file")


def _check_certificates(path: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except ssl.SSLError as error:
        raise InvalidConfiguration(f"{path}: contains no certificate in PEM form") from error
    except OSError as error:
        raise InvalidConfiguration(f"{path}: cannot be read: {error.strerror}") from error
