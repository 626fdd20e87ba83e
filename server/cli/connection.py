"""Defines the options for calling a server: its address, TLS and the API key."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from shortlist.schemas.errors import InvalidInput

if TYPE_CHECKING:
    from shortlist.client.client import Client

__all__ = ["API_KEY_VARIABLE", "add_connection_options", "connect", "connection_options_in"]

API_KEY_VARIABLE = "SHORTLIST_API_KEY"
_OPTIONS = ("tls", "tls_ca", "tls_certificate", "tls_key", "api_key_file", "allow_insecure_key")


def add_connection_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `connect` reads."""
    group = parser.add_argument_group("server")
    group.add_argument("--address", metavar="HOST:PORT", help="call this server instead of loading a model")
    group.add_argument("--tls", action="store_true", help="use TLS, and trust the public authorities")
    group.add_argument(
        "--tls-ca", type=Path, metavar="FILE", help="use TLS, and trust the authorities in this PEM file"
    )
    group.add_argument("--tls-certificate", type=Path, metavar="FILE", help="PEM file of a client certificate")
    group.add_argument("--tls-key", type=Path, metavar="FILE", help="PEM file of its private key")
    group.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help=f"file with the API key or token (default: ${API_KEY_VARIABLE})",
    )
    group.add_argument(
        "--allow-insecure-key", action="store_true", help="send the key to another machine even without TLS"
    )


def connection_options_in(args: argparse.Namespace) -> list[str]:
    """Lists the connection options in use other than `--address`, as flags."""
    return [f"--{name.replace('_', '-')}" for name in _OPTIONS if getattr(args, name)]


def connect(args: argparse.Namespace) -> Client:
    """Makes the client that the options describe.

    Raises:
        InvalidInput: the options conflict, or a file cannot be read.
    """
    from shortlist.client.client import Client  # loads gRPC, which other commands do not need

    return Client(
        args.address,
        timeout_seconds=None,
        retry=None,  # the user sees the error and decides
        tls=args.tls_ca or args.tls,
        client_certificate=args.tls_certificate,
        client_key=args.tls_key,
        api_key=_api_key(args.api_key_file),
        allow_insecure_key=args.allow_insecure_key,
    )


def _api_key(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get(API_KEY_VARIABLE) or None
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}", field="api-key-file") from error
    except UnicodeDecodeError:
        raise InvalidInput(f"{path} is not a UTF-8 text", field="api-key-file") from None
