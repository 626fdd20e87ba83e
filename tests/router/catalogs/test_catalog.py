"""A catalog that was seen before is not read again, and one that differs in anything is."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from own_folders import write_whole

from shortlist.router.catalogs.catalog import CatalogCache
from shortlist.router.pipeline import Router
from shortlist.schemas.errors import InvalidInput

MAIL = json.dumps({"name": "send_email", "description": "Sends an email"})
WEATHER = json.dumps({"name": "get_weather", "description": "Tells the weather"})
DDL = "CREATE TABLE orders (id INT, total NUMERIC);"


@pytest.fixture
def router(tmp_path: Path) -> Router:
    """A small random model with an encoder."""
    return Router.load(write_whole(tmp_path / "model").folder, device="cpu", dtype="float32")


def test_the_same_tools_are_read_once() -> None:
    cache = CatalogCache()
    assert cache.tools([MAIL, WEATHER], ["a", "b"]) is cache.tools([MAIL, WEATHER], ["a", "b"])


def test_the_same_script_is_read_once() -> None:
    cache = CatalogCache()
    assert cache.tables(DDL, None) is cache.tables(DDL, None)


@pytest.mark.parametrize(
    ("texts", "namespaces"),
    [
        ([WEATHER, MAIL], ["a", "b"]),
        ([MAIL, WEATHER], ["b", "a"]),
        ([MAIL, WEATHER], ["a"]),
        ([MAIL, WEATHER], []),
        ([MAIL + WEATHER], ["a", "b"][:1]),
        ([MAIL, WEATHER + " "], ["a", "b"]),
    ],
)
def test_tools_that_differ_in_anything_are_read_anew(texts: list[str], namespaces: list[str]) -> None:
    cache = CatalogCache()
    assert cache.tools(texts, namespaces) is not cache.tools([MAIL, WEATHER], ["a", "b"])


def test_a_text_is_not_taken_for_a_namespace() -> None:
    cache = CatalogCache()
    one, other = cache.tools([MAIL, WEATHER], []), cache.tools([MAIL], [WEATHER])
    assert (len(one.items.items), len(other.items.items)) == (2, 1)


def test_a_script_is_read_anew_in_another_dialect() -> None:
    cache = CatalogCache()
    assert cache.tables(DDL, "mysql") is not cache.tables(DDL, "postgres")


def test_the_catalog_used_longest_ago_makes_room() -> None:
    cache = CatalogCache(max_bytes=16 * (3 * len(MAIL) + 40))
    mail, weather = cache.tools([MAIL], []), cache.tools([WEATHER], [])
    assert cache.tools([MAIL], []) is mail
    cache.tools([MAIL, " "], [])
    cache.tools([MAIL, "  "], [])

    assert cache.tools([WEATHER], []) is not weather


def test_a_catalog_too_large_to_keep_is_still_read_and_drives_no_other_out() -> None:
    cache = CatalogCache(max_bytes=16 * (len(MAIL) + 20))
    mail = cache.tools([MAIL], [])

    assert len(cache.tools([WEATHER] * 50, []).items.items) == 50
    assert cache.tools([MAIL], []) is mail


def test_what_cannot_be_read_is_told_every_time() -> None:
    cache = CatalogCache()
    for _ in range(2):
        with pytest.raises(InvalidInput, match="2 namespaces for 1 texts"):
            cache.tools([MAIL], ["a", "b"])


def test_half_a_character_is_no_obstacle() -> None:
    assert CatalogCache().tools([MAIL.replace("Sends", "\ud83d")], []).kind == "tools"


def test_many_threads_get_the_same_answer_from_one_catalog(router: Router) -> None:
    tools = [json.dumps({"name": f"tool_{n}", "description": f"Does the {n}th thing"}) for n in range(40)] + [MAIL]
    barrier = threading.Barrier(8)

    def ask(query: str) -> list[tuple[str, float]]:
        barrier.wait()
        return [(item.name, round(item.score, 4)) for item in router.select_tools(query, tools).items]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, ["write an email to Ada"] * 8))

    assert all(answer == answers[0] for answer in answers)
    assert len(answers[0]) == 5


def test_a_known_catalog_gives_the_answer_it_gave_when_it_was_new(router: Router) -> None:
    script = DDL + "CREATE TABLE customers (id INT, city TEXT); nonsense;"
    first, second = (router.select_tables("which cities do customers live in", script) for _ in range(2))

    assert (first.items, first.unparsed, first.warnings) == (second.items, second.unparsed, second.warnings)
    assert second.timings.parse_ms < first.timings.parse_ms
