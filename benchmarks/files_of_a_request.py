"""Counts the project's files that one SelectTools call over gRPC runs through, and finds call-backs among them.

    python benchmarks/files_of_a_request.py [--model built-in] [--json]

A warm server in this process answers one call, sent by a stock gRPC stub in another process, for a catalog that the
server has not seen. A file counts once a function written in it has run for that call. Listed apart: generated stubs,
and files of which only methods that `dataclass` generated have run. An import does not count.

A step calls back if its module was called by another one and calls it again: A → B → A in one stack, with A under
router/ or schemas/. This includes a closure, a generator or a method of A that A passed to B, because a profile cannot
tell a harmless one (a property of a value) from a real dependency. Judge each chain that is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import grpc

from shortlist.server.app import Application
from shortlist.server.settings import Settings
from shortlist.v1 import router_pb2 as pb
from shortlist.v1 import router_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from shortlist import Router

TOOLS = Path(__file__).resolve().parent.parent / "examples" / "tools"
PACKAGE, STUBS, STEPS = "shortlist.", "shortlist.v1.", ("shortlist.router.", "shortlist.schemas.")
QUERY = "refund the last card payment of a customer"
WARM_UP, COUNTED = "travel.json", "*.json"
# The server's threads finish their bookkeeping shortly after the answer is sent.
SETTLE_SECONDS = 0.5
Chain = tuple[str, ...]


def main() -> None:
    """Counts and prints, or, in the other process, sends the call."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="built-in")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--send", nargs=2, metavar=("ADDRESS", "PATTERN"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        send(*options.send)
        return
    found = count(lambda: load_router(options.model))
    print(json.dumps(found) if options.json else "\n".join(lines(found)))


def load_router(model: str) -> Router:
    """Loads the model in float32, the one dtype that every machine runs."""
    from shortlist import Router

    return Router.load(model, dtype="float32", cache_dir="off")


def count(load: Callable[[], Any]) -> dict[str, Any]:
    """Runs a server on the Router that `load` gives, and profiles one call; files are in order of first entry."""
    profile = Profile()
    threading.setprofile(profile)  # before the server starts, as threads take the function when they start
    sys.setprofile(profile)
    try:
        return asyncio.run(profile_call(load, profile))
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


async def profile_call(load: Callable[[], Any], profile: Profile) -> dict[str, Any]:
    """Starts the server, warms it with another catalog, and returns what the next call ran through."""
    app = Application(Settings(port=0, slow_ms=0))
    await app.start()
    try:
        await app.load(load)
        address = app.address
        await send_from_another_process(address, WARM_UP)
        profile.clear()
        await send_from_another_process(address, COUNTED)
        return profile.findings()
    finally:
        await app.stop()


async def send_from_another_process(address: str, pattern: str) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, __file__, "--send", address, pattern)
    if await process.wait():
        raise SystemExit("the call failed; see above")
    await asyncio.sleep(SETTLE_SECONDS)


def send(address: str, pattern: str) -> None:
    """Sends one SelectTools with the example tools of the files that match a pattern."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(TOOLS.glob(pattern))]
    request = pb.SelectToolsRequest(query=pb.Query(text=QUERY), tools=[pb.ToolText(json=text) for text in texts])
    with grpc.insecure_channel(address) as channel:
        pb_grpc.RouterServiceStub(channel).SelectTools(request, timeout=120)


class Profile:
    """Is the function for `sys.setprofile`: notes the project's modules as they are entered, and each call-back."""

    def __init__(self) -> None:
        # Dictionaries keep the order; one assignment needs no lock between threads.
        self._written: dict[str, None] = {}
        self._generated: dict[str, None] = {}
        self._call_backs: dict[Chain, None] = {}

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Notes one call."""
        if event != "call" or not is_of_project(frame):
            return
        if is_generated(frame):
            self._generated[module_of(frame)] = None
            return
        self._written[module_of(frame)] = None
        if chain := find_call_back(frame):
            self._call_backs[chain] = None

    def clear(self) -> None:
        """Forgets all that has run so far."""
        for noted in (self._written, self._generated, self._call_backs):
            noted.clear()

    def findings(self) -> dict[str, Any]:
        """Returns what has run, as JSON values."""
        files = [path_of(name) for name in self._written if not name.startswith(STUBS)]
        return {
            "num_files": len(files),
            "files": files,
            "stubs": [path_of(name) for name in self._written if name.startswith(STUBS)],
            "only_generated_methods": [path_of(name) for name in self._generated if name not in self._written],
            "call_backs": [list(chain) for chain in self._call_backs],
        }


def is_of_project(frame: FrameType) -> bool:
    return module_of(frame).startswith(PACKAGE) and frame.f_code.co_name != "<module>"


def is_generated(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith("<")


def module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def path_of(module: str) -> str:
    return module.removeprefix(PACKAGE).replace(".", "/") + ".py"


def find_call_back(frame: FrameType) -> Chain | None:
    """Returns the functions of a call back, from the caller's to the frame's, one for each module between them."""
    module = module_of(frame)
    if not module.startswith(STEPS):
        return None
    chain = [frame]
    for caller in callers_of(frame):
        if module_of(caller) == module_of(chain[-1]):
            if len(chain) == 1:
                return None  # a call within the module
            continue
        chain.append(caller)
        if module_of(caller) == module:
            return tuple(name_of(one) for one in reversed(chain))
    return None


def callers_of(frame: FrameType) -> Iterator[FrameType]:
    """Yields the frames of the project's own code that lead to a frame, nearest first."""
    caller = frame.f_back
    while caller is not None:
        if is_of_project(caller) and not is_generated(caller):
            yield caller
        caller = caller.f_back


def name_of(frame: FrameType) -> str:
    """Names a frame's function by its file; what a function defines, as a lambda, goes by that function's name."""
    function = frame.f_code.co_qualname.partition(".<locals>")[0]
    return f"{path_of(module_of(frame))}:{function}"


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Writes the findings for people."""
    yield f"{found['num_files']} files, in order of first entry:"
    yield from (f"  {place:>2}  {path}" for place, path in enumerate(found["files"], 1))
    yield f"not counted, generated stubs: {', '.join(found['stubs']) or 'none'}"
    yield f"not counted, only generated methods ran: {', '.join(found['only_generated_methods']) or 'none'}"
    yield f"{len(found['call_backs'])} call-backs{':' if found['call_backs'] else ''}"
    yield from ("  " + " → ".join(chain) for chain in found["call_backs"])


if __name__ == "__main__":
    main()
