"""Defines the server's settings: what each means, its default and its range.

They come from a TOML file, the environment (`SHORTLIST_` and the name in capitals) and flags (`--` and the name with
dashes); later sources override earlier ones. `shortlist.server.configuration` reads them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shortlist.schemas.errors import InvalidConfiguration

__all__ = ["LOOPBACK", "RELOADED", "Settings"]

# Addresses that only programs on the same machine can reach.
LOOPBACK = ("127.0.0.1", "::1", "localhost")
# The settings that a SIGHUP reloads; all others need a restart.
RELOADED = ("keys_file", "jwks_file", "rate", "burst", "max_calls", "slow_ms", "log_level")

Port = Annotated[int, Field(ge=0, le=65535)]
Feature = Literal["info", "metrics", "reflection"]


class Settings(BaseSettings):
    """The server's settings. Paths are as given, relative to the working directory."""

    model_config = SettingsConfigDict(env_prefix="SHORTLIST_", extra="forbid", frozen=True, protected_namespaces=())

    # Addresses.
    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(50051, description="port of the gRPC API; 0 picks a free one")
    http_port: Port | None = Field(None, description="port of the REST API; if not set, there is no REST API")
    metrics_port: Port | None = Field(
        None, description="separate port for Prometheus metrics; if not set, there is none"
    )
    insecure: bool = Field(False, description="allow listening beyond this machine without TLS")
    disabled: Annotated[tuple[Feature, ...], NoDecode] = Field(
        (), description="features to disable, comma-separated: info, metrics (on the REST port), reflection"
    )

    # Encryption and callers.
    tls_certificate: Path | None = Field(
        None, description="PEM file of the certificate chain; reloaded when it changes"
    )
    tls_key: Path | None = Field(None, description="PEM file of its private key")
    tls_client_ca: Path | None = Field(
        None, description="PEM file of the authorities that must sign client certificates"
    )
    keys_file: Path | None = Field(None, description="file of API keys (see `shortlist keys`)")
    jwks_file: Path | None = Field(None, description="JWKS file with the public keys that verify bearer tokens")
    jwks_url: str | None = Field(None, description="https URL of such a JWKS")
    jwt_issuer: str | None = Field(None, description="issuer that tokens must name (`iss`)")
    jwt_audience: str | None = Field(None, description="audience that tokens must name (`aud`)")

    # Limits.
    max_message_mb: int = Field(64, ge=1, le=2047, description="largest request or response, in MiB")
    max_concurrent: int = Field(32, ge=1, description="requests that may run at once")
    max_waiting: int = Field(128, ge=0, description="requests that may wait to run")
    max_queue_seconds: float = Field(
        1.0,
        gt=0,
        description="reject a request if the work ahead takes longer than this and than five typical requests",
    )
    grace_seconds: float = Field(
        10.0,
        ge=0,
        allow_inf_nan=False,
        description="seconds that running requests have to finish when the server stops",
    )
    rate: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="requests per second for each caller; without keys, for all callers together; 0 = no limit",
    )
    burst: int = Field(0, ge=0, description="requests a caller may send at once after a pause; 0 = twice the rate")
    max_calls: int = Field(0, ge=0, description="concurrent requests for each caller, as for rate; 0 = no limit")

    # Logs and traces.
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe messages to log")
    log_format: Literal["console", "json"] = Field(
        "console", description="format of log lines, for people or for programs"
    )
    slow_ms: float = Field(5000.0, ge=0, description="log the stages of requests slower than this, in ms; 0 = none")
    otlp_endpoint: str | None = Field(None, description="where to send traces, as http://HOST:4318/v1/traces")
    otlp_headers: SecretStr | None = Field(None, description="headers for otlp_endpoint, as name=value,name=value")
    trace_ratio: float = Field(1.0, ge=0, le=1, description="share of requests to trace if the caller does not decide")

    # Model.
    model: str = Field("built-in", description="`built-in`, its six-layer variant `fast`, a folder, or a hub name")
    revision: str | None = Field(None, description="commit, tag or branch of a hub model")
    allow_download: bool = Field(False, description="allow downloading the model from the hub")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    dtype: str = Field("auto", description="auto, float32, bfloat16 or float16")
    attention: str = Field("auto", description="attention backend")
    threads: int | None = Field(
        None, ge=1, description="batches computed side by side on a CPU; if not set, one for each usable CPU"
    )
    max_batch_tokens: int | None = Field(
        None, ge=1, description="most tokens per batch; if not set, depends on the device"
    )
    cache_mb: float = Field(
        512.0, ge=0, allow_inf_nan=False, description="MiB for cached catalogs and document vectors; 0 = no cache"
    )
    cache: str | None = Field(
        None,
        description="folder that keeps the vectors of tools and tables between starts, or off; if not set, "
        "~/.cache/shortlist",
    )

    @classmethod
    def settings_customise_sources(cls, settings_cls: Any, init_settings: Any, *_: Any, **__: Any) -> tuple[Any, ...]:
        """Uses only the given values: `configuration` reads the sources itself, so that errors can name them."""
        return (init_settings,)

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: object) -> object:
        """Splits `disabled` at commas, as the environment and flags give it."""
        if isinstance(values, dict) and isinstance(values.get("disabled"), str):
            names = [name.strip() for name in values["disabled"].split(",")]
            return {**values, "disabled": tuple(filter(None, names))}
        return values

    @model_validator(mode="after")
    def _check_together(self) -> Settings:
        """Checks settings that depend on each other."""
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("give both tls_certificate and tls_key, or neither")
        if self.tls_client_ca and not self.tls_certificate:
            raise ValueError("tls_client_ca also needs tls_certificate and tls_key")
        if self.jwks_file and self.jwks_url:
            raise ValueError("give jwks_file or jwks_url, not both")
        if (self.jwks_file or self.jwks_url) and not (self.jwt_issuer and self.jwt_audience):
            raise ValueError(
                "bearer tokens need jwt_issuer and jwt_audience; otherwise any token of that signer would pass"
            )
        if (self.jwt_issuer or self.jwt_audience) and not (self.jwks_file or self.jwks_url):
            raise ValueError("jwt_issuer and jwt_audience need jwks_file or jwks_url; otherwise no token is required")
        if self.jwks_url and not self.jwks_url.startswith("https://"):
            raise ValueError("jwks_url must begin with https://, so that nobody on the network can replace the keys")
        if self.host not in LOOPBACK and not self.tls_certificate and not self.insecure:
            raise ValueError(
                f"{self.host} can be reached from other machines, and the connection would not be encrypted; "
                "give tls_certificate and tls_key, or insecure if something in front encrypts"
            )
        return self

    def differing_from(self, other: Settings) -> list[str]:
        """Lists the settings whose values differ."""
        return [name for name in type(self).model_fields if getattr(self, name) != getattr(other, name)]

    def with_reloaded(self, other: Settings) -> Settings:
        """Returns these settings with the reloadable ones taken from `other`.

        Raises:
            InvalidConfiguration: the combination is invalid.
        """
        values = {name: getattr(other if name in RELOADED else self, name) for name in type(self).model_fields}
        try:
            return Settings(**values)
        except ValidationError as error:
            reason = error.errors(include_url=False, include_context=False, include_input=False)[0]["msg"]
            raise InvalidConfiguration(f"needs a restart: {reason}") from None

    @property
    def max_message_bytes(self) -> int:
        """The largest request or response, in bytes."""
        return self.max_message_mb * 1024 * 1024

    @property
    def needs_credentials(self) -> bool:
        """Whether calls need an API key or a bearer token."""
        return bool(self.keys_file or self.jwks_file or self.jwks_url)
