"""The `serve` command: runs one server process from start to stop."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from shortlist.schemas.errors import InvalidConfiguration, ShortlistError
from shortlist.server.cli.model import load_router
from shortlist.server.cli.output import drop_output
from shortlist.server.cli.settings import add_settings_parser, effective_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from shortlist.router.pipeline import Router
    from shortlist.server.app import Application
    from shortlist.server.settings import Settings

__all__ = ["add_parser", "load_and_trim", "return_free_memory", "trim_memory"]

_log = logging.getLogger(__name__)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `serve`."""
    parser = add_settings_parser(
        subparsers,
        "serve",
        help="run the server",
        description="Runs the server. Once it serves, it prints `listening on grpc://HOST:PORT` to stdout and, with "
        "--http-port, `listening on http://HOST:PORT`; the log goes to stderr. SIGTERM or SIGINT stops it after the "
        "running requests; a second signal stops it at once. SIGHUP reloads keys, limits and the log level; changed "
        "certificates are reloaded without a signal.",
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from shortlist.server.telemetry import logs

    settings = effective_settings(args).settings
    logs.set_up(settings.log_format, settings.log_level)
    try:
        return asyncio.run(_serve(settings, lambda: effective_settings(args).settings))
    except ShortlistError as error:
        if settings.log_format != "json":
            raise
        _log.error("%s", error)  # the line that the command would print is not JSON
        return 2 if isinstance(error, InvalidConfiguration) else 1


async def _serve(settings: Settings, read_settings: Callable[[], Settings]) -> int:
    from shortlist.server.app import Application

    stopping = _stop_on_signals()
    app = Application(settings)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _reload, app, read_settings)
    await app.start()
    _log.info("bound %s, loading model %s", app.address, settings.model)
    if app.metrics_url:
        _log.info("metrics at %s", app.metrics_url)
    if not await _load(app, settings, stopping):
        _leave_at_once(0)  # the loading thread cannot be interrupted
    for address in filter(None, (f"grpc://{app.address}", app.http_url)):
        _announce(f"listening on {address}")
    trimming = asyncio.create_task(trim_memory())
    await stopping.wait()
    trimming.cancel()
    _log.info("stopping; a second signal stops at once")
    if not await app.stop():
        _leave_at_once(1)
    _log.info("stopped")
    if app.is_engine_busy:
        _leave_at_once(0)
    return 0


def _announce(line: str) -> None:
    """Prints a line on stdout; if nothing reads stdout any more, logs it and keeps serving."""
    try:
        print(line, flush=True)
    except OSError as error:
        _log.warning("%s (stdout: %s)", line, error.strerror)
        drop_output()


async def _load(app: Application, settings: Settings, stopping: asyncio.Event) -> bool:
    """Loads the model; returns False if a signal came first."""
    loading = asyncio.create_task(app.load(lambda: load_and_trim(settings)))
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


def load_and_trim(settings: Settings) -> Router:
    """Loads the Router, then gives free memory back to the system; raises like `load_router`."""
    router = load_router(settings, settings.cache_mb, settings.cache)
    return_free_memory()
    return router


async def trim_memory(every_seconds: float = 10.0) -> None:
    """Gives free memory back to the system every few seconds, until cancelled.

    Requests leave free memory that the C library would keep; finding it takes 35 ms.
    """
    while True:
        await asyncio.sleep(every_seconds)
        await asyncio.to_thread(return_free_memory)


def return_free_memory() -> bool:
    """Gives free memory back to the system, about 80 MiB after loading; False if the C library is not glibc."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):
        return False
    return bool(trim(0))


def _reload(app: Application, read_settings: Callable[[], Settings]) -> None:
    """Reads the settings and keys again; if they are invalid, logs it and changes nothing."""
    from shortlist.server.telemetry import logs

    try:
        changed = app.reload(read_settings())
    except InvalidConfiguration as error:
        _log.error("nothing was reloaded: %s", " ".join(str(error).split()))
        return
    logs.set_level(app.settings.log_level)
    _log.info("reloaded the keys; changed settings: %s", ", ".join(changed) or "none")


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
    """Ends the process without waiting for its threads, which nothing can interrupt."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)
