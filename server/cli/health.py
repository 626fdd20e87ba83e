"""The `health` command: asks a server whether it serves, for container probes and scripts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from shortlist.client.convert import DEFAULT_ADDRESS
from shortlist.schemas.errors import InvalidInput, ServerUnavailable, ShortlistError
from shortlist.server.cli.numbers import number

__all__ = ["add_parser"]

_DEFAULT_SECONDS = 3.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `health`."""
    parser = subparsers.add_parser(
        "health",
        help="ask a server whether it serves",
        description="Asks the gRPC health service. Exit code 0: the server answers requests; 1: it is loading, "
        "stopping or unreachable.",
    )
    parser.add_argument("--address", default=DEFAULT_ADDRESS, metavar="HOST:PORT", help=f"(default: {DEFAULT_ADDRESS})")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=_DEFAULT_SECONDS,
        metavar="S",
        help=f"seconds to wait (default: {_DEFAULT_SECONDS:g})",
    )
    parser.add_argument(
        "--tls-ca",
        type=Path,
        metavar="FILE",
        help="use TLS; PEM file of the authority that signed the server's certificate",
    )
    parser.add_argument("--tls-name", metavar="NAME", help="name in the server's certificate, if it differs from HOST")
    parser.add_argument("--tls-certificate", type=Path, metavar="FILE", help="PEM file of a client certificate")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="PEM file of its private key")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    try:
        import grpc
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        from shortlist.client.channel import Connection
    except ImportError as error:
        raise ShortlistError("this command needs grpcio-health-checking: install the extra [serve]") from error

    if args.tls_name and not args.tls_ca:
        raise InvalidInput("needs --tls-ca", field="--tls-name")
    connection = Connection(
        args.address,
        tls=args.tls_ca or False,
        client_certificate=args.tls_certificate,
        client_key=args.tls_key,
        server_name=args.tls_name,
    )
    with connection.open() as channel:
        try:
            # Not wait_for_ready: a probe wants the current state.
            stub: Any = health_pb2_grpc.HealthStub(channel)  # the package's type stubs lack the methods
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=args.timeout)
        except grpc.RpcError as error:
            raise ServerUnavailable(f"{args.address}: {error.details() or error.code().name}") from error
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise ServerUnavailable(f"{args.address}: {status}")
    print(f"{args.address}: {status}")
    return 0


def _seconds(text: str) -> float:
    seconds = number(text)
    if not 0.0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a valid time; give more than 0 seconds")
    return seconds
