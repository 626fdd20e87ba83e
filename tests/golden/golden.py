"""Asks a server the requests of requests.jsonl and compares its answers with those of answers.jsonl.

    python tests/golden/golden.py            compares, and prints every difference
    python tests/golden/golden.py --write    writes answers.jsonl

A real server process answers, on float32, by gRPC, REST and the command line. Only the wire and the command line are
used, so that the code behind them may be moved and rewritten while the answers are held.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2

from shortlist.v1 import router_pb2 as pb
from shortlist.v1 import router_pb2_grpc as pb_grpc

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
REQUESTS, ANSWERS = HERE / "requests.jsonl", HERE / "answers.jsonl"
assert error_details_pb2.DESCRIPTOR  # registers the messages that details are
_MESSAGES = {"SelectTools": pb.SelectToolsRequest, "SelectTables": pb.SelectTablesRequest, "Rerank": pb.RerankRequest}
# Depends on the machine or the release, not on the answer.
_VARYING = ("timings", "device", "dtype", "attention", "server_version", "version", "id", "request_id", "requestId")
_COMMAND = (sys.executable, "-c", "import sys; from importlib.metadata import entry_points as e; "
            "sys.exit(next(iter(e(group='console_scripts', name='shortlist'))).load()())")  # fmt: skip
Json = Any


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Reads one JSON value a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@contextmanager
def running_server() -> Iterator[tuple[str, str]]:
    """Runs a server; gives its gRPC address and its HTTP address."""
    flags = ["serve", "--port", "0", "--http-port", "0", "--dtype", "float32", "--log-level", "error"]
    environment = {**os.environ, "SHORTLIST_CACHE": "off"}
    process = subprocess.Popen([*_COMMAND, *flags], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    assert process.stdout is not None
    try:
        found: dict[str, str] = {}
        while len(found) < 2:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("the server ended before it listened")
            if match := re.search(r"(grpc|http)://(\S+)", line):
                found[match[1]] = match[2]
        yield found["grpc"], found["http"]
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def answers(requests: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Asks every request, in order."""
    with running_server() as (address, http), grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(60)
        stub = pb_grpc.RouterServiceStub(channel)
        stub.GetInfo(pb.GetInfoRequest(), wait_for_ready=True, timeout=120)
        for asked in requests:
            filled = _with_files(asked)
            match asked["kind"]:
                case "http":
                    answer = _ask_http(http, filled)
                case "command":
                    answer = _ask_command(address, filled["arguments"])
                case method:
                    answer = _ask_grpc(stub, method, filled["request"])
            yield {"name": asked["name"], "answer": _settled(answer)}


def _with_files(value: Json) -> Json:
    if isinstance(value, str) and value.startswith("@"):
        return (ROOT / value[1:]).read_text(encoding="utf-8")
    if isinstance(value, list):
        return [_with_files(one) for one in value]
    return {name: _with_files(one) for name, one in value.items()} if isinstance(value, dict) else value


def _ask_grpc(stub: Any, method: str, request: Json) -> Json:
    message = json_format.ParseDict(request, _MESSAGES[method]())
    try:
        response = getattr(stub, method)(message, timeout=120)
    except grpc.RpcError as error:
        return _failure(error)
    return json_format.MessageToDict(response, preserving_proto_field_name=True)


def _failure(error: Any) -> Json:
    trailing = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailing.get("grpc-status-details-bin", b""))
    return {
        "code": error.code().name,
        "text": error.details(),
        "field": trailing.get("shortlist-field", ""),
        "details": [json_format.MessageToDict(detail) for detail in status.details],
    }


def _ask_http(host: str, asked: Json) -> Json:
    body = asked.get("raw", json.dumps(asked["body"]) if "body" in asked else None)
    headers = {"Content-Type": asked.get("content_type", "application/json")} if body is not None else {}
    request = urllib.request.Request(
        f"http://{host}{asked['path']}", body.encode() if body is not None else None, headers
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return {"status": response.status, "body": json.load(response)}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "body": json.load(error)}


def _ask_command(address: str, arguments: list[str]) -> Json:
    done = subprocess.run(
        [*_COMMAND, *arguments, "--address", address], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    try:
        printed = json.loads(done.stdout)
    except ValueError:
        printed = done.stdout
    return {"exit": done.returncode, "printed": printed, "complaint": done.stderr.replace(address, "ADDRESS")}


def _settled(value: Json) -> Json:
    """Leaves out what varies, shortens long texts to a digest and rounds numbers."""
    if isinstance(value, dict):
        return {name: _settled(one) for name, one in value.items() if name not in _VARYING}
    if isinstance(value, list):
        return [_settled(one) for one in value]
    if isinstance(value, str) and len(value) > 400:
        return f"{value[:40]}… {hashlib.sha256(value.encode()).hexdigest()[:16]}"
    return round(value, 6) if isinstance(value, float) else value


def differences(wanted: Json, found: Json, tolerance: float, path: str = "") -> Iterator[str]:
    """Yields where two answers differ; numbers that are no integers may differ by `tolerance`."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for name in [*wanted, *(name for name in found if name not in wanted)]:
            yield from differences(wanted.get(name), found.get(name), tolerance, f"{path}.{name}")
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for place, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from differences(one, other, tolerance, f"{path}[{place}]")
    elif isinstance(wanted, float) or isinstance(found, float):
        if not _is_near(wanted, found, tolerance):
            yield f"{path}: {wanted} -> {found}"
    elif wanted != found:
        yield f"{path}: {_short(wanted)} -> {_short(found)}"


def _is_near(one: Any, other: Any, tolerance: float) -> bool:
    return isinstance(one, int | float) and isinstance(other, int | float) and math.isclose(
        one, other, rel_tol=tolerance, abs_tol=tolerance
    )  # fmt: skip


def _short(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)[:400]


def main() -> int:
    """Compares or writes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--tolerance", type=float, default=1e-5)
    options = parser.parse_args()
    requests = read_lines(REQUESTS)
    found = list(answers(requests))
    if options.write:
        lines = [json.dumps(one, ensure_ascii=False) for one in found]
        ANSWERS.write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(len(lines), "answers written")
        return 0
    wanted = {one["name"]: one["answer"] for one in read_lines(ANSWERS)}
    num_differing = 0
    for one in found:
        seen = list(differences(wanted.get(one["name"]), one["answer"], options.tolerance))
        num_differing += bool(seen)
        for line in seen:
            print(f"{one['name']}{line}")
    print(f"{len(found)} answers, {num_differing} differ")
    return int(num_differing > 0)


if __name__ == "__main__":
    sys.exit(main())
