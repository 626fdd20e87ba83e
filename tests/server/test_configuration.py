from __future__ import annotations

from pathlib import Path

import pytest

from shortlist.schemas.errors import InvalidConfiguration
from shortlist.server.configuration import CONFIG_VARIABLE, describe, load_settings
from shortlist.server.settings import Settings


def test_flags_override_the_environment_which_overrides_the_file(tmp_path: Path) -> None:
    file = tmp_path / "shortlist.toml"
    file.write_text('port = 1\nmax_waiting = 2\nrate = 3.5\ndisabled = ["info"]\n')
    environment = {"SHORTLIST_MAX_WAITING": "20", "SHORTLIST_PORT": "10"}
    effective = load_settings({"port": "100"}, file=file, environment=environment)
    settings = effective.settings
    assert (settings.port, settings.max_waiting, settings.rate, settings.disabled) == (100, 20, 3.5, ("info",))
    assert effective.sources == {
        "port": "--port",
        "max_waiting": "SHORTLIST_MAX_WAITING",
        "rate": str(file),
        "disabled": str(file),
    }


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    file = tmp_path / "shortlist.toml"
    file.write_text("port = 7\n")
    assert load_settings({}, environment={CONFIG_VARIABLE: str(file)}).settings.port == 7


def test_an_empty_variable_sets_nothing() -> None:
    assert load_settings({}, environment={"SHORTLIST_PORT": ""}).settings.port == 50051


def test_variables_of_other_programs_are_ignored() -> None:
    assert load_settings({}, environment={"PORT": "x", "HOME": "/"}).settings == Settings()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("prot = 1", "there is no setting 'prot'; did you mean port?", id="misspelled"),
        pytest.param("colour = 1", "there is no setting 'colour'", id="nothing similar"),
        pytest.param("port = ", "is not valid TOML", id="not TOML"),
        pytest.param("port = 70000", "is 70000: input should be less than", id="out of range"),
        pytest.param('disabled = ["doors"]', "is 'doors': input should be", id="unknown feature"),
        pytest.param("rate = nan", "is nan: input should be", id="not a number"),
    ],
)
def test_a_wrong_file_is_named_with_its_problem(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "shortlist.toml"
    file.write_text(text)
    with pytest.raises(InvalidConfiguration) as caught:
        load_settings({}, file=file, environment={})
    assert str(caught.value).startswith(str(file))
    assert told in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="cannot be read: No such file"):
        load_settings({}, file=tmp_path / "none.toml", environment={})


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        pytest.param(
            {"SHORTLIST_HSOT": "x"}, "SHORTLIST_HSOT is not a setting; did you mean SHORTLIST_HOST?", id="misspelled"
        ),
        pytest.param({"SHORTLIST_THREADS": "many"}, "SHORTLIST_THREADS is 'many'", id="not a number"),
    ],
)
def test_a_wrong_variable_is_named(environment: dict[str, str], told: str) -> None:
    with pytest.raises(InvalidConfiguration, match=told.replace("?", r"\?")):
        load_settings({}, environment=environment)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"host": "0.0.0.0"}, "would not be encrypted"),
        ({"tls_key": "k"}, "or neither"),
        ({"tls_client_ca": "c"}, "also needs tls_certificate"),
        ({"jwks_file": "f"}, "need jwt_issuer and jwt_audience"),
        ({"jwt_issuer": "i", "jwt_audience": "a"}, "need jwks_file or jwks_url"),
        ({"jwt_audience": "a", "jwks_url": ""}, "need jwks_file or jwks_url"),
        ({"jwks_url": "http://x", "jwt_issuer": "i", "jwt_audience": "a"}, "must begin with https"),
        ({"jwks_url": "https://x", "jwks_file": "f", "jwt_issuer": "i", "jwt_audience": "a"}, "not both"),
    ],
)
def test_conflicting_settings_are_rejected(flags: dict[str, str], told: str) -> None:
    with pytest.raises(InvalidConfiguration, match=told):
        load_settings(flags, environment={})


@pytest.mark.parametrize("flags", [{"insecure": "true"}, {"tls_certificate": "c", "tls_key": "k"}])
def test_listening_beyond_this_machine_needs_tls_or_insecure(flags: dict[str, str]) -> None:
    assert load_settings({"host": "0.0.0.0", **flags}, environment={}).settings.host == "0.0.0.0"


def test_secrets_are_masked_when_settings_are_shown() -> None:
    effective = load_settings({}, environment={"SHORTLIST_OTLP_HEADERS": "authorization=hush"})
    shown = {name: (value, source) for name, value, source in describe(effective)}
    assert shown["otlp_headers"] == ("******", "SHORTLIST_OTLP_HEADERS")
    assert shown["port"] == (50051, "default")
    assert "hush" not in str(shown) + repr(effective)


def test_an_invalid_secret_is_not_shown() -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        load_settings({"otlp_headers": ["hush"]}, environment={})
    assert "hush" not in str(caught.value)


def test_a_password_in_an_address_is_masked() -> None:
    effective = load_settings({}, environment={"SHORTLIST_OTLP_ENDPOINT": "http://ada:hush@host:4318/v1/traces"})
    shown = {name: value for name, value, _ in describe(effective)}
    assert shown["otlp_endpoint"] == "http://******@host:4318/v1/traces"
