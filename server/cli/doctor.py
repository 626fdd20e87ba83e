"""The `doctor` command: checks the settings, files, machine and model that a server would use."""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import json
import os
import platform
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from shortlist.router.engine.cpus import usable_cpus
from shortlist.schemas.errors import InvalidConfiguration, ShortlistError
from shortlist.server.cli.model import load_router
from shortlist.server.cli.settings import add_settings_parser, effective_settings

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from shortlist.server.settings import Settings

__all__ = ["Finding", "add_parser", "examine"]

_RENEW_WITHIN = timedelta(days=14)
_EVERYWHERE = ("0.0.0.0", "::", "")
_PRIVATE = ("tls_key", "keys_file")
_FILES = (*_PRIVATE, "tls_certificate", "tls_client_ca", "jwks_file")
_MIB = 1024 * 1024
# Memory that traffic of all sizes takes besides the caches: buffers, and oneDNN's kernels (docs/guides/operate.md).
_TRAFFIC_BYTES = 350 * _MIB
_CLOCK_IS_NOT_SYNCHRONISED = 5  # adjtimex(2): TIME_ERROR

_QUERY, _EXPECTED = "send an email to Ada", "send_email"
_TOOLS = (
    '{"name": "get_weather", "description": "Tells the weather of a city."}',
    '{"name": "send_email", "description": "Sends an email to a person."}',
    '{"name": "create_invoice", "description": "Creates an invoice for an order."}',
)


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; `remedy` says how to fix a problem, empty if there is none."""

    name: str
    status: Literal["ok", "warn", "fail"]
    text: str
    remedy: str = ""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `doctor`."""
    parser = add_settings_parser(
        subparsers,
        "doctor",
        help="check settings, machine and model before serving",
        description="Checks what `serve` needs with these settings: files, certificates, ports, the machine, and the "
        "model by ranking a request. Exit code 0: `serve` would work, perhaps with warnings; 1: a check failed.",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    findings = []
    for finding in _findings(args):
        findings.append(finding)
        if not args.json:
            _print(finding)
    if args.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        print(
            ", ".join(f"{sum(one.status == status for one in findings)} {status}" for status in ("ok", "warn", "fail"))
        )
    return int(any(finding.status == "fail" for finding in findings))


def _findings(args: argparse.Namespace) -> Iterator[Finding]:
    try:
        effective = effective_settings(args)
    except InvalidConfiguration as error:
        yield Finding("settings", "fail", str(error), "correct it; `shortlist config` shows the source of each setting")
        return
    yield Finding("settings", "ok", f"{len(effective.sources)} set, all others at their defaults")
    yield from examine(effective.settings)


def _print(finding: Finding) -> None:
    print(f"{finding.status:4}  {finding.name:15}  {finding.text}", flush=True)
    if finding.remedy:
        print(f"{'':4}  {'':15}  fix: {finding.remedy}", flush=True)


def examine(settings: Settings) -> Iterator[Finding]:
    """Runs all checks in turn; the check of the model takes as long as loading it."""
    for name in _FILES:
        if path := getattr(settings, name):
            yield _check_file(name, path)
    if settings.tls_certificate and settings.tls_key:
        yield from _check_certificate(settings.tls_certificate, settings.tls_key, settings.host)
    yield from _check_loading(settings)
    yield from _check_ports(settings)
    yield from (_check_clock(), _check_threads(settings), _check_neighbours(), _check_processor())
    yield _check_model(settings)
    yield _check_memory(settings)


def _check_loading(settings: Settings) -> Iterator[Finding]:
    """Loads keys, certificates and tracing like `serve`."""
    from shortlist.server.auth.authenticator import make_authenticator
    from shortlist.server.telemetry.tracing import make_tracing
    from shortlist.server.tls import server_credentials

    readers: dict[str, tuple[bool, Callable[[Settings], object]]] = {
        "callers": (settings.needs_credentials, make_authenticator),
        "tls": (settings.tls_certificate is not None, server_credentials),
        "traces": (settings.otlp_endpoint is not None, make_tracing),
    }
    for name, (is_set, read) in readers.items():
        if not is_set:
            continue
        try:
            read(settings)
        except InvalidConfiguration as error:
            yield Finding(name, "fail", " ".join(str(error).split()), "`serve` stops with the same error")


def _check_file(name: str, path: Path) -> Finding:
    flag = f"--{name.replace('_', '-')}"
    try:
        path.read_bytes()
    except OSError as error:
        return Finding(name, "fail", f"{path}: {error.strerror}", f"correct {flag}, or let this user read the file")
    is_private = name in _PRIVATE
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (0o027 if is_private else 0o022):
        what, remedy = ("read or change", "chmod go-rwx") if is_private else ("change", "chmod go-w")
        return Finding(name, "fail", f"{path}: other users may {what} it (mode {mode:o})", f"{remedy} {path}")
    return Finding(name, "ok", f"{path} (mode {mode:o})")


def _check_certificate(certificate_file: Path, key_file: Path, host: str) -> Iterator[Finding]:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        certificate = x509.load_pem_x509_certificates(certificate_file.read_bytes())[0]
        key = load_pem_private_key(key_file.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        yield Finding(
            "certificate", "fail", "it or its key is not a PEM file", "give PEM files, and a key without a passphrase"
        )
        return
    if key.public_key() != certificate.public_key():
        yield Finding("certificate", "fail", f"{key_file} is not its key", "give the key that belongs to it")
    yield _check_dates(certificate)
    yield _check_names(certificate, host)


def _check_dates(certificate: Certificate) -> Finding:
    now, end = datetime.now(UTC), certificate.not_valid_after_utc
    if now < certificate.not_valid_before_utc:
        text = f"is valid only from {certificate.not_valid_before_utc:%Y-%m-%d}"
        return Finding("certificate", "fail", text, "wait, correct the clock, or give another certificate")
    if now > end:
        return Finding("certificate", "fail", f"expired on {end:%Y-%m-%d}", "renew it")
    text = f"expires on {end:%Y-%m-%d}, in {(end - now).days} days"
    return _warn_if(end - now < _RENEW_WITHIN, "certificate", text, "renew it")


def _check_names(certificate: Certificate, host: str) -> Finding:
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return Finding(
            "certificate", "fail", "names no host", "make one with a subjectAltName; clients ignore other names"
        )
    hosts, addresses = names.get_values_for_type(x509.DNSName), names.get_values_for_type(x509.IPAddress)
    shown = ", ".join([*hosts, *map(str, addresses)])
    is_named = host in hosts or f"*.{host.partition('.')[2]}" in hosts
    with suppress(ValueError):
        is_named = is_named or ip_address(host) in addresses
    remedy = f"let clients use one of these names, or make a certificate for {host}"
    is_bad = not is_named and host not in _EVERYWHERE
    return _warn_if(is_bad, "certificate", f"is for {shown}, the server listens on {host}", remedy)


def _check_ports(settings: Settings) -> Iterator[Finding]:
    taken: dict[int, str] = {}
    for name in ("port", "http_port", "metrics_port"):
        port = getattr(settings, name)
        if not port:
            continue
        flag = f"--{name.replace('_', '-')}"
        if port in taken:
            yield Finding(name, "fail", f"{port} is also {taken[port]}", f"choose another {flag}")
            continue
        taken[port] = name
        if reason := _why_unusable(settings.host, port):
            text = f"{settings.host} port {port}: {reason}"
            yield Finding(name, "fail", text, f"choose another {flag}, or stop what listens there")
        else:
            yield Finding(name, "ok", f"{settings.host} port {port} is free")


def _why_unusable(host: str, port: int) -> str:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.create_server(address[:2], family=family):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _check_clock() -> Finding:
    """Asks the kernel, if it has such a call, whether the clock is synchronised."""
    if time.time() < Path(__file__).stat().st_mtime:
        return Finding("clock", "fail", "is earlier than the installation of this program", "set the clock")
    with suppress(OSError, AttributeError, TypeError):
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))  # all zeros: only reads
        if state == _CLOCK_IS_NOT_SYNCHRONISED:
            text = "is not synchronised; tokens and certificates depend on it"
            return Finding("clock", "warn", text, "run an NTP client on this machine")
    return Finding("clock", "ok", f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")


def _check_threads(settings: Settings) -> Finding:
    usable, present = usable_cpus(), os.cpu_count() or 1
    given = os.environ.get("OMP_NUM_THREADS", "")
    threads = settings.threads or (min(int(given), usable) if given.isdigit() else usable)
    text = f"{threads} for the model, a batch each; {usable} of {present} CPUs are usable (affinity and control groups)"
    return _warn_if(threads > usable, "threads", text, f"set --threads {usable}; more threads wait for each other")


def _check_neighbours() -> Finding:
    usable, load = usable_cpus(), os.getloadavg()[0]
    text = f"load {load:.1f} on {usable} CPUs"
    remedy = (
        "other programs use the CPUs, so requests take longer: give this one CPUs of its own; a program that loads "
        "the Router itself should set OMP_WAIT_POLICY=PASSIVE before it imports torch, as the commands do"
    )
    return _warn_if(load > usable / 2, "neighbours", text, remedy)


def _check_processor() -> Finding:
    import torch

    level = torch.backends.cpu.get_cpu_capability()
    if torch.cuda.is_available():
        return Finding("processor", "ok", f"torch uses {level}, and {torch.cuda.get_device_name()}")
    is_slow = platform.machine().lower() in ("x86_64", "amd64") and not level.startswith("AVX")
    return _warn_if(is_slow, "processor", f"torch uses {level}", "use a machine with AVX2 or AVX-512, or a CUDA GPU")


def _check_model(settings: Settings) -> Finding:
    began = time.perf_counter()
    try:
        router = load_router(settings)
        loaded = time.perf_counter()
        best = router.select_tools(_QUERY, _TOOLS, top_n=1).items[0].name
    except ShortlistError as error:
        return Finding("model", "fail", str(error), "correct --model, --device, --dtype or --attention")
    info, seconds = router.info, time.perf_counter() - loaded
    text = (
        f"{info.name} {info.version} on {info.device}, {info.dtype}, {info.attention}; loaded in {loaded - began:.1f} s"
    )
    if best != _EXPECTED:
        text = f"{text}, but ranks {best!r} first, not {_EXPECTED!r}"
        return Finding("model", "fail", text, "the folder is damaged or the model is not a reranker; fetch it again")
    return Finding("model", "ok", f"{text}; ranks a first request correctly in {seconds:.2f} s")


def _check_memory(settings: Settings) -> Finding:
    """Compares the available memory with this process's peak, which includes the model, plus traffic and caches."""
    status, machine = _numbers(Path("/proc/self/status")), _numbers(Path("/proc/meminfo"))
    if "VmHWM" not in status or "MemAvailable" not in machine:
        return Finding("memory", "ok", "this system does not report it")
    needed = status["VmHWM"] + _TRAFFIC_BYTES + int(settings.cache_mb * _MIB)
    free = machine["MemAvailable"] + status["VmRSS"]
    with suppress(OSError, ValueError):
        free = min(free, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    text = f"{needed // _MIB} MiB needed under traffic with full caches, {free // _MIB} MiB available"
    return _warn_if(
        needed > free, "memory", text, "give the machine or the control group more memory, or lower cache_mb"
    )


def _warn_if(is_bad: bool, name: str, text: str, remedy: str) -> Finding:
    return Finding(name, "warn", text, remedy) if is_bad else Finding(name, "ok", text)


def _numbers(file: Path) -> dict[str, int]:
    """Reads the kernel's lines `name: number kB`; returns bytes."""
    with suppress(OSError):
        rows = [line.split() for line in file.read_text().splitlines()]
        return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if row[-1] == "kB"}
    return {}
