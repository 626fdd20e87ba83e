"""Server processes: what a SIGHUP reloads, and that no secret is written anywhere."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from certificates import AUDIENCE, ISSUER, Authority, rsa_signer, write_jwks
from server_fixtures import ServerProcess, wait_until

from shortlist import Client
from shortlist.schemas.errors import RateLimited, ShortlistError, Unauthenticated
from shortlist.server.auth.keys import read_keys
from shortlist.server.cli.main import main

StartProcess = Callable[..., ServerProcess]
AddKey = Callable[..., str]

RSA = rsa_signer()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def add_key(path: Path, capsys: pytest.CaptureFixture[str]) -> AddKey:
    """Makes a key with the command, and returns it."""

    def add(name: str = "billing", *arguments: str) -> str:
        assert main(["keys", "add", name, "--file", str(path), *arguments]) == 0
        return capsys.readouterr().out.strip()

    return add


def code_of(served: ServerProcess, api_key: str | None) -> type[ShortlistError] | None:
    with Client(served.address, timeout_seconds=60, api_key=api_key) as client:
        try:
            client.rerank("word", ["word"])
        except ShortlistError as error:
            return type(error)
    return None


def hang_up(served: ServerProcess) -> None:
    served.process.send_signal(signal.SIGHUP)


def stopped_log(served: ServerProcess) -> str:
    served.process.send_signal(signal.SIGTERM)
    out, log = served.process.communicate(timeout=60)
    assert served.process.returncode == 0
    return out + log


def test_keys_are_added_and_revoked_with_a_signal(start_process: StartProcess, path: Path, add_key: AddKey) -> None:
    old = add_key()
    served = start_process("--keys-file", str(path))
    assert (code_of(served, None), code_of(served, old)) == (Unauthenticated, None)
    new = add_key()
    assert code_of(served, new) is Unauthenticated
    hang_up(served)
    wait_until(lambda: code_of(served, new) is None)
    assert code_of(served, old) is None
    main(["keys", "revoke", "--file", str(path), read_keys(path).keys[0].id])
    hang_up(served)
    wait_until(lambda: code_of(served, old) is Unauthenticated)
    assert code_of(served, new) is None
    assert "reloaded the keys" in stopped_log(served)


def test_limits_and_the_log_level_follow_the_settings_file(start_process: StartProcess, tmp_path: Path) -> None:
    config = tmp_path / "shortlist.toml"
    config.write_text('log_level = "debug"\n')
    served = start_process("--config", str(config))
    assert [code_of(served, None) for _ in range(3)] == [None] * 3
    config.write_text('log_level = "info"\nrate = 0.001\nburst = 1\nmax_waiting = 3\n')
    hang_up(served)
    wait_until(lambda: code_of(served, None) is RateLimited)
    log = stopped_log(served)
    assert "changed settings: rate, burst, log_level" in log
    assert "settings that changed but need a restart to take effect: max_waiting" in log


@pytest.mark.parametrize(
    ("settings", "keys", "message"),
    [
        pytest.param("rate = -1", None, "rate", id="a setting out of range"),
        pytest.param("rate = ", None, "is not valid TOML", id="half a settings file"),
        pytest.param("rate = 0.001\nburst = 1", '{"keys": [', "is not a JSON file of keys", id="half a file of keys"),
    ],
)
def test_a_failed_reload_logs_one_line_and_changes_nothing(
    start_process: StartProcess, path: Path, add_key: AddKey, settings: str, keys: str | None, message: str
) -> None:
    key = add_key()
    config = path.with_name("shortlist.toml")
    config.write_text("")
    served = start_process("--config", str(config), "--keys-file", str(path))
    config.write_text(settings)
    path.write_text(keys or path.read_text())
    hang_up(served)
    assert served.process.stderr is not None
    lines = iter(served.process.stderr.readline, "")
    told = next(line for line in lines if "nothing was reloaded" in line)
    assert message in told
    assert [code_of(served, key) for _ in range(3)] == [None] * 3
    assert "Traceback" not in stopped_log(served)


def test_no_key_and_no_token_is_written_anywhere(start_process: StartProcess, path: Path, add_key: AddKey) -> None:
    jwks = write_jwks(path.with_name("jwks.json"), RSA.jwk())
    key, expired = add_key(), add_key("old", "--expires", "2020-01-01")
    served = start_process(
        *("--log-level", "debug", "--keys-file", str(path), "--jwks-file", str(jwks)),
        *("--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE),
    )
    good, late = RSA.token(), RSA.token(exp=1)
    wrong = key[:-8] + "deadbeef"
    secrets = [key, expired, wrong, good, late, good[:-4] + "AAAA", "shortlist_plain-words-of-somebody"]
    told = []
    for metadata in [*((("authorization", f"Bearer {secret}"),) for secret in secrets), (("x-api-key", wrong),)]:
        with grpc.insecure_channel(served.address) as channel:
            call = channel.unary_unary("/shortlist.v1.RouterService/Rerank")
            with pytest.raises(grpc.RpcError) as caught:
                call(b"", metadata=metadata, timeout=60)
        told.append(f"{caught.value.details()} {caught.value.trailing_metadata()} {caught.value}")
    hang_up(served)
    command = Path(f"/proc/{served.process.pid}/cmdline").read_text() if Path("/proc/self/cmdline").exists() else ""
    log = stopped_log(served)
    written = "\n".join([log, command, *told])
    assert "billing" in log
    assert "jwt:alice" in log
    parts = [part for secret in secrets for part in (secret, secret[24:] if "." not in secret else secret[-40:])]
    hashes = [entry.sha256 for entry in read_keys(path).keys]
    assert [part for part in [*parts, *hashes] if part in written] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--keys-file", "{}/no.json"], "/no.json: cannot be read: No such file", id="keys"),
        pytest.param(
            ["--tls-certificate", "{}/no.crt", "--tls-key", "{}/no.key"], "/no.crt: cannot be read", id="certificate"
        ),
        pytest.param(
            ["--jwks-file", "{}/no.json", "--jwt-issuer", "a", "--jwt-audience", "b"], "/no.json: cannot be", id="jwks"
        ),
    ],
)
def test_a_server_with_a_wrong_file_does_not_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["serve", "--port", "0", *(argument.format(tmp_path) for argument in arguments)]) == 2
    told = capsys.readouterr()
    assert (told.out, len(told.err.splitlines())) == ("", 1)
    assert message in told.err


def test_the_commands_call_an_encrypted_server_with_a_key(
    start_process: StartProcess,
    path: Path,
    add_key: AddKey,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GRPC_VERBOSITY", raising=False)
    authority, key = Authority(path.parent), add_key()
    certificate, private = authority.issue("server")
    own_certificate, own_key = authority.issue("client")
    served = start_process(
        *("--keys-file", str(path), "--tls-certificate", str(certificate), "--tls-key", str(private)),
        *("--tls-client-ca", str(authority.path)),
    )
    held = path.with_name("key.txt")
    held.write_text(f"{key}\n")
    command = ["info", "--address", served.address, "--tls-ca", str(authority.path), "--timeout", "20"]
    mutual = [*command, "--tls-certificate", str(own_certificate), "--tls-key", str(own_key)]

    assert main([*mutual, "--api-key-file", str(held)]) == 0
    monkeypatch.setenv("SHORTLIST_API_KEY", key)
    assert main(mutual) == 0
    assert capsys.readouterr().out.count("fake 1") == 2
    assert main(command) == 1  # without the certificate of its own
    with socket.create_connection(tuple(served.address.split(":"))) as stray:
        stray.sendall(b"GET / HTTP/1.1\r\n\r\n")
        stray.recv(10)
    monkeypatch.setenv("SHORTLIST_API_KEY", "wrong")
    assert main(mutual) == 1
    assert "not known here" in capsys.readouterr().err
    assert "andshake" not in stopped_log(served)
