from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import server_fakes
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from server_fixtures import SERVE_FAKE

from shortlist.server.cli.doctor import Finding, examine
from shortlist.server.settings import Settings

WriteCertificate = Callable[..., tuple[Path, Path]]


@pytest.fixture
def write_certificate(tmp_path: Path) -> WriteCertificate:
    """Writes a certificate for 127.0.0.1 and a.example, and its key."""

    def write(*, since_days: float = -1, days: float = 90, are_names: bool = True) -> tuple[Path, Path]:
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        made = made.not_valid_before(now + timedelta(since_days)).not_valid_after(now + timedelta(days))
        names = [x509.DNSName("a.example"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        if are_names:
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        files = tmp_path / "tls.crt", tmp_path / "tls.key"
        files[0].write_bytes(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
        files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        files[0].chmod(0o644)
        files[1].chmod(0o600)
        return files

    return write


@pytest.fixture(autouse=True)
def fake_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shortlist.router.pipeline", server_fakes)


def found(name: str, **options: Any) -> list[Finding]:
    settings = Settings(**{"port": 0, **options})
    return [finding for finding in examine(settings) if finding.name == name]


def test_a_missing_file_fails(tmp_path: Path) -> None:
    (finding,) = found("keys_file", keys_file=tmp_path / "none")
    assert (finding.status, "No such file" in finding.text, "--keys-file" in finding.remedy) == ("fail", True, True)


@pytest.mark.parametrize(
    ("name", "mode", "status"),
    [
        ("keys_file", 0o600, "ok"),
        ("keys_file", 0o640, "ok"),
        ("keys_file", 0o644, "fail"),
        ("keys_file", 0o660, "fail"),
        ("jwks_file", 0o644, "ok"),
        ("jwks_file", 0o646, "fail"),
    ],
)
def test_a_file_that_others_may_read_or_change_fails(tmp_path: Path, name: str, mode: int, status: str) -> None:
    file = tmp_path / "file"
    file.write_text("{}")
    file.chmod(mode)
    token = {"jwt_issuer": "i", "jwt_audience": "a"} if name == "jwks_file" else {}
    (finding,) = found(name, **{name: file}, **token)
    assert (finding.status, "chmod" in finding.remedy) == (status, status == "fail")


@pytest.mark.parametrize(
    ("options", "host", "statuses", "text"),
    [
        pytest.param({}, "127.0.0.1", ["ok", "ok"], "in 89 days", id="good"),
        pytest.param({}, "0.0.0.0", ["ok", "ok"], "a.example, 127.0.0.1", id="every address"),
        pytest.param({}, "::1", ["ok", "warn"], "listens on ::1", id="another host"),
        pytest.param({"days": 5}, "127.0.0.1", ["warn", "ok"], "in 4 days", id="ends soon"),
        pytest.param({"since_days": -9, "days": -1}, "127.0.0.1", ["fail", "ok"], "expired on", id="ended"),
        pytest.param({"since_days": 2}, "127.0.0.1", ["fail", "ok"], "is valid only from", id="not yet"),
        pytest.param({"are_names": False}, "127.0.0.1", ["ok", "fail"], "names no host", id="no names"),
    ],
)
def test_a_certificate_is_judged_by_its_dates_and_names(
    write_certificate: WriteCertificate, options: dict[str, Any], host: str, statuses: list[str], text: str
) -> None:
    certificate, key = write_certificate(**options)
    findings = found("certificate", tls_certificate=certificate, tls_key=key, host=host)
    assert [finding.status for finding in findings] == statuses
    assert text in "; ".join(finding.text for finding in findings)


def test_a_key_of_another_certificate_fails(write_certificate: WriteCertificate, tmp_path: Path) -> None:
    certificate, _ = write_certificate()
    kept = tmp_path / "first.crt"
    kept.write_bytes(certificate.read_bytes())
    kept.chmod(0o644)
    _, other_key = write_certificate()
    findings = found("certificate", tls_certificate=kept, tls_key=other_key)
    assert ["is not its key" in finding.text for finding in findings] == [True, False, False]


def test_files_that_are_not_pem_fail(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("secret nonsense")
    (finding,) = found("certificate", tls_certificate=tmp_path / "x", tls_key=tmp_path / "x")
    assert (finding.status, "secret" in finding.text) == ("fail", False)


def test_a_taken_port_and_a_port_given_twice_fail() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = holder.getsockname()[1]
        (finding,) = found("port", port=taken)
        (twice,) = found("metrics_port", port=taken, metrics_port=taken)
    assert (finding.status, "in use" in finding.text, "--port" in finding.remedy) == ("fail", True, True)
    assert (twice.status, twice.text) == ("fail", f"{taken} is also port")
    (free,) = found("port", port=taken)
    assert free.status == "ok"


def test_more_threads_than_cpus_give_a_warning() -> None:
    (many,), (one,) = found("threads", threads=5000), found("threads", threads=1)
    assert (many.status, one.status) == ("warn", "ok")


@pytest.mark.parametrize(("load", "status"), [(99.0, "warn"), (0.0, "ok")])
def test_busy_neighbours_give_a_warning(monkeypatch: pytest.MonkeyPatch, load: float, status: str) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, load, load))
    (finding,) = found("neighbours")
    assert (finding.status, "OMP_WAIT_POLICY=PASSIVE" in finding.remedy) == (status, status == "warn")


def test_caches_that_do_not_fit_into_memory_give_a_warning() -> None:
    (enough,) = found("memory")
    (scarce,) = found("memory", cache_mb=1e9)
    assert (enough.status, scarce.status, "cache_mb" in scarce.remedy) == ("ok", "warn", True)


def test_a_model_that_ranks_correctly_passes() -> None:
    (finding,) = found("model")
    assert (finding.status, finding.text.startswith("fake 1 on cpu")) == ("ok", True)


def test_a_model_that_ranks_wrongly_or_is_missing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    (missing,) = found("model", model="missing")
    monkeypatch.setattr(server_fakes, "overlap", lambda query, chunk: float("weather" in chunk))
    (wrong,) = found("model")
    assert (missing.status, missing.text) == ("fail", "no such model")
    assert (wrong.status, "ranks 'get_weather' first, not 'send_email'" in wrong.text) == ("fail", True)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SERVE_FAKE), "doctor", "--port", "0", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_prints_findings_and_succeeds_despite_warnings() -> None:
    done = run("--threads", "5000")
    rows = [line.split()[:2] for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, "")
    assert ["ok", "settings"] in rows
    assert ["warn", "threads"] in rows
    assert "fix:" in [row[0] for row in rows]
    assert done.stdout.splitlines()[-1].endswith("0 fail")


def test_the_command_prints_json_and_exits_with_1_if_a_check_fails() -> None:
    done = run("--json", "--model", "missing")
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert (done.returncode, findings["model"]["status"], findings["settings"]["status"]) == (1, "fail", "ok")
    assert findings["model"]["remedy"].startswith("correct --model")


def test_wrong_settings_are_a_finding() -> None:
    done = run("--rate", "-1")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("fail  settings         --rate is '-1'")
