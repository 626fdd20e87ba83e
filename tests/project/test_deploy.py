"""Holds the container's files to what they promise: no root, no tools, no writes, and settings that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from paths import ROOT

from shortlist.schemas.errors import InvalidConfiguration
from shortlist.server.cli.main import build_parser
from shortlist.server.configuration import load_settings

yaml = pytest.importorskip("yaml")

DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]["shortlist"]
OBJECTS = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")))
POD = next(one for one in OBJECTS if one["kind"] == "Deployment")["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]


def instructions() -> Iterator[tuple[str, str]]:
    """Yields the Dockerfile's instructions with what follows them, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word, rest.strip()


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = [[]]
    for word, rest in instructions():
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest))
    return found


LAST = stages()[-1]


def of(word: str) -> list[str]:
    return [rest for name, rest in LAST if name == word]


def image_environment() -> dict[str, str]:
    pairs = [pair.partition("=") for rest in of("ENV") for pair in rest.split()]
    return {name: value for name, _, value in pairs if name.startswith("SHORTLIST_")}


def pod_environment() -> dict[str, str]:
    return {one["name"]: one["value"] for one in CONTAINER["env"]}


def test_the_base_is_named_by_a_tag_that_is_not_the_latest() -> None:
    base = dict(stages()[0])["ARG"].removeprefix("BASE=")
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", base)
    assert all(rest.startswith("${BASE} AS ") for stage in stages()[1:] for word, rest in stage if word == "FROM")


def test_the_image_runs_as_a_numbered_user_who_is_not_root() -> None:
    assert of("USER") == ["10001:10001"]
    assert [word for word, _ in LAST].index("USER") > max(
        place for place, (word, _) in enumerate(LAST) if word in ("RUN", "COPY")
    )


def test_the_image_holds_no_tools_to_build_or_install_with() -> None:
    assert "pip uninstall" in " ".join(of("RUN"))
    assert not re.search(r"apt-get|apk |pip install|gcc|curl|wget", " ".join(rest for _, rest in LAST))
    assert all(rest.startswith("--from=build /opt/") for rest in of("COPY"))


def test_the_image_stops_and_is_asked_as_the_server_expects() -> None:
    assert of("STOPSIGNAL") == ["SIGTERM"]
    assert json.loads(of("ENTRYPOINT")[0]) + json.loads(of("CMD")[0]) == ["shortlist", "serve"]
    command = json.loads(of("HEALTHCHECK")[0].partition("CMD ")[2])
    assert build_parser().parse_args(command[1:]).address.endswith(f":{image_environment()['SHORTLIST_PORT']}")


def test_the_image_alone_refuses_to_listen_in_the_clear() -> None:
    with pytest.raises(InvalidConfiguration, match="would not be encrypted"):
        load_settings({}, environment=image_environment())


@pytest.mark.parametrize("environment", [COMPOSE["environment"], pod_environment()], ids=["compose", "kubernetes"])
def test_the_examples_give_the_image_settings_that_it_takes(environment: dict[str, str]) -> None:
    settings = load_settings({}, environment=image_environment() | environment).settings
    assert settings.host == "0.0.0.0"
    assert settings.port == 50051


def test_compose_publishes_what_is_not_encrypted_to_this_machine_alone() -> None:
    assert "SHORTLIST_INSECURE" in COMPOSE["environment"]
    assert all(port.startswith("127.0.0.1:") for port in COMPOSE["ports"])


def test_compose_confines_the_server() -> None:
    assert COMPOSE["read_only"] is True
    assert COMPOSE["cap_drop"] == ["ALL"]
    assert COMPOSE["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "cpus", "pids_limit", "tmpfs"} <= COMPOSE.keys()


def test_the_pod_confines_the_server() -> None:
    confined = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert CONTAINER["securityContext"] == confined
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["runAsUser"] == 10001
    assert POD["automountServiceAccountToken"] is False
    assert {"requests", "limits"} == CONTAINER["resources"].keys()


def test_what_is_in_flight_has_time_to_finish() -> None:
    grace = load_settings({}, environment=image_environment() | pod_environment()).settings.grace_seconds
    pause = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    assert POD["terminationGracePeriodSeconds"] > grace + pause
    assert int(COMPOSE["stop_grace_period"].removesuffix("s")) > grace


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe"])
def test_the_probes_are_commands_that_exist(probe: str) -> None:
    command: list[Any] = CONTAINER[probe]["exec"]["command"]
    args = build_parser().parse_args(command[1:])
    assert args.timeout < CONTAINER[probe]["timeoutSeconds"]
    assert str(args.tls_ca) == pod_environment()["SHORTLIST_TLS_CERTIFICATE"]


def test_what_the_build_needs_is_let_into_it() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    assert {"server", "schemas", "router", "proto/shortlist", "pyproject.toml", "constraints.txt"} <= let_in
    assert all((ROOT / name).exists() for name in let_in)
