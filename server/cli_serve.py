"""The `serve` command: one server process, from the first log line to the last answer."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from shortlist.server.cli_model import add_model_options, count, load_router, positive

if TYPE_CHECKING:
    from shortlist.router.pipeline import Router
    from shortlist.server.app import Application

__all__ = ["add_parser", "return_free_memory"]

_log = logging.getLogger(__name__)

_MEBIBYTE = 1024 * 1024
# gRPC counts message sizes in a signed 32-bit integer.
_MAX_MESSAGE_MB = 2047


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `serve`."""
    parser = subparsers.add_parser(
        "serve",
        help="run the gRPC server",
        description="Runs the gRPC server. Its first line on stdout is `listening on grpc://HOST:PORT`, once it "
        "serves; its log goes to stderr. SIGTERM and SIGINT stop it when the answers in flight are sent; a second one "
        "at once.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=50051, help="0 picks a free one (default: %(default)s)")
    parser.add_argument(
        "--max-message-mb", type=_message_mb, default=64, metavar="N", help="MiB per message (default: %(default)s)"
    )
    parser.add_argument(
        "--max-concurrent", type=positive, default=32, metavar="N", help="requests at once (default: %(default)s)"
    )
    parser.add_argument(
        "--max-waiting", type=count, default=128, metavar="N", help="requests that may wait (default: %(default)s)"
    )
    parser.add_argument(
        "--grace-seconds",
        type=_seconds,
        default=10.0,
        metavar="S",
        help="time to finish on a stop (default: %(default)s)",
    )
    parser.add_argument(
        "--log-level", default="info", choices=("debug", "info", "warning", "error"), help="(default: %(default)s)"
    )
    add_model_options(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    logging.basicConfig(
        stream=sys.stderr, level=args.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    return asyncio.run(_serve(args))


async def _serve(args: argparse.Namespace) -> int:
    stopping = _stop_on_signals()
    app = _application(args)
    await app.start()
    _log.info("bound %s, loading model %s", app.address, args.model)
    if not await _load(app, args, stopping):
        _leave_at_once(0)  # the loading thread cannot be interrupted, and nobody waits for it
    print(f"listening on grpc://{app.address}", flush=True)
    await stopping.wait()
    _log.info("stopping; a second signal stops at once")
    if not await app.stop():
        _leave_at_once(1)
    _log.info("stopped")
    return 0


def _application(args: argparse.Namespace) -> Application:
    from shortlist.server.app import Application, ServerOptions

    if args.host not in ("127.0.0.1", "::1", "localhost"):
        _log.warning("%s may be reached from elsewhere; there is neither encryption nor authentication", args.host)
    options = ServerOptions(
        host=args.host,
        port=args.port,
        max_message_bytes=args.max_message_mb * _MEBIBYTE,
        max_concurrent=args.max_concurrent,
        max_waiting=args.max_waiting,
        grace_seconds=args.grace_seconds,
    )
    return Application(options)


async def _load(app: Application, args: argparse.Namespace, stopping: asyncio.Event) -> bool:
    """Loads the model; False if a signal came first."""
    loading = asyncio.create_task(app.load(lambda: _load_lean(args)))
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait((loading, stopped), return_when=asyncio.FIRST_COMPLETED)
    if not loading.done():
        return False
    stopped.cancel()
    try:
        loading.result()
    except BaseException:
        await app.stop()
        raise
    return True


def _load_lean(args: argparse.Namespace) -> Router:
    router = load_router(args)
    return_free_memory()
    return router


def return_free_memory() -> bool:
    """Gives back to the system what loading left behind, some 80 MiB; False where the C library cannot (not glibc)."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):
        return False
    return bool(trim(0))


def _stop_on_signals() -> asyncio.Event:
    stopping = asyncio.Event()

    def on_signal() -> None:
        if stopping.is_set():
            _log.warning("stopped at once")
            _leave_at_once(1)
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stopping


def _leave_at_once(code: int) -> NoReturn:
    """Ends the process without waiting for threads that nothing can interrupt."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port; give 0 to 65535")
    return port


def _message_mb(text: str) -> int:
    size = positive(text)
    if size > _MAX_MESSAGE_MB:
        raise argparse.ArgumentTypeError(f"{text} is too large; gRPC takes at most {_MAX_MESSAGE_MB}")
    return size


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no time; give 0 or more seconds")
    return seconds
