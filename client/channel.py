"""Opens the client's connection: plain or TLS, with an optional client certificate and API key."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import KW_ONLY, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from shortlist.schemas import errors

__all__ = ["DEFAULT_MESSAGE_BYTES", "Connection", "FilePath", "is_loopback"]

FilePath = str | PathLike[str]
DEFAULT_MESSAGE_BYTES = 64 * 1024 * 1024
# The characters of a bearer token in an authorization header (RFC 6750, 2.1).
_API_KEY = re.compile(r"[A-Za-z0-9._~+/-]+=*\Z")


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach a server, and with which credentials; the arguments are those of `Client`.

    `server_name` is the name in the server's certificate, if it differs from the host of the address.

    Raises:
        InvalidInput: arguments conflict, or the key would be sent unencrypted.
    """

    address: str
    _: KW_ONLY
    max_message_bytes: int = DEFAULT_MESSAGE_BYTES
    tls: bool | FilePath = False
    client_certificate: FilePath | None = None
    client_key: FilePath | None = None
    api_key: str | None = field(default=None, repr=False)
    allow_insecure_key: bool = False
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.client_certificate is None) != (self.client_key is None):
            raise errors.InvalidInput("needs client_key; give both or neither", field="client_certificate")
        if self.client_certificate is not None and not self.tls:
            raise errors.InvalidInput("needs tls", field="client_certificate")
        if self.api_key is not None and not _API_KEY.match(self.api_key):
            raise errors.InvalidInput("is empty, or has characters that keys cannot have", field="api_key")

    def open(self) -> grpc.Channel:
        """Opens a blocking channel."""
        self._reject_unencrypted_key()
        if self.tls:
            return grpc.secure_channel(self.address, self._credentials(), options=self.options())
        return grpc.insecure_channel(self.address, options=self.options())

    def open_async(self) -> grpc.aio.Channel:
        """Opens a channel for asyncio."""
        self._reject_unencrypted_key()
        if self.tls:
            return grpc.aio.secure_channel(self.address, self._credentials(), options=self.options())
        return grpc.aio.insecure_channel(self.address, options=self.options())

    def identity(self, *, is_foreign_channel: bool = False) -> dict[str, Any]:
        """Returns the arguments that add the API key to a gRPC call; a foreign channel is one opened by the caller."""
        if self.api_key is None:
            return {}
        if is_foreign_channel:
            # Only gRPC knows whether that channel is encrypted; it sends call credentials over encrypted channels only.
            return {"credentials": grpc.access_token_call_credentials(self.api_key)}
        return {"metadata": (("authorization", f"Bearer {self.api_key}"),)}

    def _reject_unencrypted_key(self) -> None:
        if self.api_key and not self.tls and not self.allow_insecure_key and not is_loopback(self.address):
            raise errors.InvalidInput(
                f"would be sent to {self.address} unencrypted; use tls, or allow_insecure_key if a proxy encrypts",
                field="api_key",
            )

    def _credentials(self) -> grpc.ChannelCredentials:
        roots = None if isinstance(self.tls, bool) else _read(self.tls, "tls")
        if self.client_certificate is None or self.client_key is None:
            return grpc.ssl_channel_credentials(roots)
        return grpc.ssl_channel_credentials(
            roots, _read(self.client_key, "client_key"), _read(self.client_certificate, "client_certificate")
        )

    def options(self) -> list[tuple[str, int | str]]:
        """Returns the channel's options, by gRPC's names."""
        options: list[tuple[str, int | str]] = [
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_send_message_length", -1),  # the server checks the size, and its error says what to do
            ("grpc.initial_reconnect_backoff_ms", 100),
            # Detects a server that vanished during a call; servers allow a ping every ten seconds.
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 10_000),
        ]
        if self.address.startswith("dns:"):
            options.append(("grpc.lb_policy_name", "round_robin"))  # spread calls over all addresses of the name
        if self.server_name:
            options.append(("grpc.ssl_target_name_override", self.server_name))
        # A proxy named in the environment cannot reach this machine's own loopback.
        return [*options, ("grpc.enable_http_proxy", 0)] if is_loopback(self.address) else options


def is_loopback(address: str) -> bool:
    """Whether a gRPC address stays on this machine; False if that is unclear."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    if address.startswith(("ipv4:", "ipv6:")):
        return all(is_loopback(one) for one in address[5:].split(","))
    host = address.rpartition(":")[0] if re.search(r":\d+\Z", address) else address
    host = host.removeprefix("[").removesuffix("]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(path: FilePath, name: str) -> bytes:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise errors.InvalidInput(f"{path} cannot be read: {error.strerror}", field=name) from error
    if b"-----BEGIN " not in content:
        raise errors.InvalidInput(f"{path} is not a PEM file: it contains no -----BEGIN line", field=name)
    return content
