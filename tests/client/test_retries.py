from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from server_fixtures import SERVE_FAKE, ServerProcess, ServerThread, wait_until
from toy_service import APPEND, ECHO

from shortlist import AsyncClient, Client, RetryPolicy
from shortlist.client.retries import Attempts, only_reads
from shortlist.schemas.errors import (
    DeadlineTooShort,
    InvalidInput,
    RateLimited,
    ServerBusy,
    ServerUnavailable,
    ShortlistError,
)
from shortlist.v1 import router_pb2 as pb

StartServer = Callable[..., ServerThread]
StartProcess = Callable[..., ServerProcess]
QUICK = RetryPolicy(first_seconds=0.02, longest_seconds=0.05)


def attempts(
    timeout_seconds: float | None = None, *, was_answered: bool = True, only_reads: bool = True, at: float = 0.0
) -> Attempts:
    moments = iter([0.0])
    return Attempts(RetryPolicy(), timeout_seconds, was_answered, only_reads, now=lambda: next(moments, at))


@pytest.mark.parametrize(
    ("error", "least", "most"),
    [
        pytest.param(ServerUnavailable("away"), 0.1, 0.15, id="away"),
        pytest.param(ServerUnavailable("loading", retry_seconds=1.0), 1.0, 1.5, id="loading"),
        pytest.param(ServerBusy("full", retry_seconds=0.05), 0.1, 0.15, id="full"),
        pytest.param(RateLimited("too much", retry_seconds=4.0), 4.0, 4.5, id="too much"),
    ],
)
def test_the_pause_is_what_the_server_asks_for_and_no_less_than_our_first(
    error: ShortlistError, least: float, most: float
) -> None:
    pause = attempts().pause_after(error)
    assert pause is not None
    assert least <= pause <= most


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("wrong"),
        DeadlineTooShort("late", retry_seconds=1.0),
        ServerBusy("full, and of another make"),
        ServerUnavailable("SSL: CERTIFICATE_VERIFY_FAILED"),
        ShortlistError("a defect"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_second_attempt_cannot_mend_is_not_tried_again(error: ShortlistError) -> None:
    assert attempts().pause_after(error) is None


@pytest.mark.parametrize(
    ("error", "is_retried"),
    [
        pytest.param(ServerUnavailable("the connection broke"), False, id="may have been received"),
        pytest.param(ServerUnavailable("loading", retry_seconds=1.0), True, id="loading"),
        pytest.param(ServerBusy("full", retry_seconds=0.05), True, id="full"),
        pytest.param(RateLimited("too much", retry_seconds=4.0), True, id="too much"),
    ],
)
def test_a_call_that_may_change_something_is_retried_only_if_it_was_rejected(
    error: ShortlistError, is_retried: bool
) -> None:
    assert (attempts(only_reads=False).pause_after(error) is not None) is is_retried


def test_the_proto_says_which_methods_only_read() -> None:
    rpcs = pb.DESCRIPTOR.services_by_name["RouterService"].methods
    assert {rpc.name: only_reads(rpc) for rpc in rpcs} == dict.fromkeys(
        ("SelectTools", "SelectTables", "Rerank", "GetInfo"), True
    )
    assert [only_reads(rpc) for rpc in (ECHO, APPEND)] == [True, False]


def test_pauses_double_up_to_the_longest() -> None:
    trying = attempts()
    pauses = [trying.pause_after(ServerUnavailable("away")) or 0.0 for _ in range(7)]
    for pause, least in zip(pauses, (0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0), strict=True):
        assert least <= pause <= 1.5 * least


def test_a_pause_that_the_server_asks_for_does_not_grow() -> None:
    trying = attempts()
    for _ in range(7):
        assert 0.3 <= (trying.pause_after(ServerBusy("full", retry_seconds=0.3)) or 0.0) <= 0.45


def test_patience_ends() -> None:
    assert attempts(at=29.0).pause_after(ServerUnavailable("away")) is not None
    assert attempts(at=30.0).pause_after(ServerUnavailable("away")) is None


def test_an_address_that_never_answered_is_given_less_time() -> None:
    assert attempts(was_answered=False, at=6.0).pause_after(ServerUnavailable("away")) is None
    assert attempts(was_answered=False, at=6.0).pause_after(ServerUnavailable("loading", retry_seconds=1)) is not None


def test_no_attempt_begins_after_the_calls_own_time() -> None:
    assert attempts(1.0, at=0.95).pause_after(ServerUnavailable("away")) is None
    assert attempts(1.0, at=0.4).left_seconds == pytest.approx(0.6)
    assert attempts(1.0, at=2.0).left_seconds == 0.001
    assert attempts().left_seconds is None
    assert attempts(float("inf")).left_seconds is None
    assert attempts(1e300).left_seconds is None


def test_a_full_server_is_asked_again_until_it_has_room(start_server: StartServer) -> None:
    server = start_server(max_concurrent=1, max_waiting=0)
    server.engine.gate.clear()
    with Client(server.app.address, timeout_seconds=60, retry=QUICK) as client, ThreadPoolExecutor() as pool:
        first = pool.submit(client.rerank, "first", ["first"])
        server.engine.wait_until_entered()
        second = pool.submit(client.rerank, "second", ["second"])
        time.sleep(0.2)
        server.engine.gate.set()
        assert [len(future.result(60).items) for future in (first, second)] == [1, 1]


@dataclass(frozen=True)
class Remembering(RetryPolicy):
    """Keeps the retry times of a server."""

    given: list[float | None] = field(default_factory=list)

    def pause(self, doubled_seconds: float, server_seconds: float | None) -> float:
        self.given.append(server_seconds)
        return super().pause(doubled_seconds, server_seconds)


def test_a_crowd_at_a_full_server_is_answered_to_the_last(start_server: StartServer) -> None:
    server = start_server(max_queue_seconds=0.2)
    server.engine.max_batch_tokens, server.engine.seconds_per_token = 100, 0.001
    policy, seconds = Remembering(), []

    def ask_thrice(number: int) -> None:
        for _ in range(3):
            began = time.monotonic()
            client.rerank(f"query {number}", ["word " * 90])
            seconds.append(time.monotonic() - began)

    with Client(server.app.address, retry=policy) as client, ThreadPoolExecutor(16) as pool:
        client.rerank("what is usual", ["word " * 90])
        for asking in [pool.submit(ask_thrice, number) for number in range(16)]:
            asking.result(60)
    assert (len(seconds), bool(policy.given)) == (48, True)
    assert max(seconds) < 10.0  # 1.6 where all take turns and nothing else is done


def test_a_server_that_still_loads_is_waited_for(start_server: StartServer) -> None:
    async def ask() -> int:
        async with AsyncClient(server.app.address, timeout_seconds=60, retry=QUICK) as client:
            answer = asyncio.create_task(client.rerank("word", ["word"]))
            await asyncio.sleep(0.2)
            await asyncio.to_thread(server.load)
            return len((await answer).items)

    server = start_server(is_loaded=False)
    assert asyncio.run(ask()) == 1


def test_closing_the_client_ends_its_attempts(start_server: StartServer) -> None:
    server = start_server(is_loaded=False)
    client = Client(server.app.address, timeout_seconds=60)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(client.rerank, "word", ["word"])
        wait_until(lambda: client._stub is not None and waiting.running())
        client.close()
        with pytest.raises(ShortlistError):
            waiting.result(30)


def test_no_call_fails_while_two_servers_take_turns_on_a_port(start_process: StartProcess) -> None:
    served = start_process("--log-level", "warning")
    port = served.address.rsplit(":", 1)[1]
    outcomes: list[str] = []
    is_over = False

    def ask_on() -> None:
        while not is_over:
            outcomes.append(client.rerank("paris", ["berlin", "paris"]).report.model_name)

    with Client(served.address, timeout_seconds=60) as client, ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask_on) for _ in range(4)]
        wait_until(lambda: len(outcomes) > 20)
        served.process.terminate()
        served.process.wait(30)
        again = subprocess.Popen(
            [sys.executable, str(SERVE_FAKE), "serve", "--port", port],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            before = len(outcomes)
            wait_until(lambda: len(outcomes) > before + 20)
            is_over = True
            for future in asking:
                future.result(60)
        finally:
            is_over = True
            again.kill()
            again.communicate()
    assert set(outcomes) == {"fake"}
