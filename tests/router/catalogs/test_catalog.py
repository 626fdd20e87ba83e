"""A catalog seen before is not parsed again; a catalog with any difference is."""

from __future__ import annotations

import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from own_folders import write_whole

from shortlist.router.catalogs.caches import CatalogCache, PreparedCatalog
from shortlist.router.catalogs.catalog import Catalog, CatalogText
from shortlist.router.pipeline import Router
from shortlist.schemas.errors import InvalidInput

MAIL = json.dumps({"name": "send_email", "description": "Sends an email"})
WEATHER = json.dumps({"name": "get_weather", "description": "Tells the weather"})
DDL = "CREATE TABLE orders (id INT, total NUMERIC);"


@pytest.fixture
def router(tmp_path: Path) -> Router:
    """A small random model with an encoder."""
    return Router.load(write_whole(tmp_path / "model").folder, device="cpu", dtype="float32")


def read_tools(cache: CatalogCache, texts: list[str], namespaces: list[str]) -> PreparedCatalog:
    return cache.read(CatalogText.of_tools(texts, namespaces))


def test_the_same_tools_are_parsed_once() -> None:
    cache = CatalogCache()
    assert read_tools(cache, [MAIL, WEATHER], ["a", "b"]) is read_tools(cache, [MAIL, WEATHER], ["a", "b"])


def test_the_same_script_is_parsed_once() -> None:
    cache = CatalogCache()
    assert cache.read(CatalogText.of_tables(DDL, None)) is cache.read(CatalogText.of_tables(DDL, None))


@pytest.mark.parametrize(
    ("texts", "namespaces"),
    [
        ([WEATHER, MAIL], ["a", "b"]),
        ([MAIL, WEATHER], ["b", "a"]),
        ([MAIL, WEATHER], []),
        ([MAIL + WEATHER], ["a", "b"][:1]),
        ([MAIL, WEATHER + " "], ["a", "b"]),
    ],
)
def test_tools_with_any_difference_are_parsed_again(texts: list[str], namespaces: list[str]) -> None:
    cache = CatalogCache()
    assert read_tools(cache, texts, namespaces) is not read_tools(cache, [MAIL, WEATHER], ["a", "b"])


def test_a_text_is_not_mistaken_for_a_namespace() -> None:
    cache = CatalogCache()
    one, other = read_tools(cache, [MAIL, WEATHER], []), read_tools(cache, [MAIL], [WEATHER])
    assert (len(one.catalog.items), len(other.catalog.items)) == (2, 1)


def test_a_script_is_parsed_again_in_another_dialect() -> None:
    cache = CatalogCache()
    assert cache.read(CatalogText.of_tables(DDL, "mysql")) is not cache.read(CatalogText.of_tables(DDL, "postgres"))


def test_the_least_recently_used_catalog_is_dropped_first() -> None:
    cache = CatalogCache(max_bytes=16 * (3 * len(MAIL) + 40))
    mail, weather = read_tools(cache, [MAIL], []), read_tools(cache, [WEATHER], [])
    assert read_tools(cache, [MAIL], []) is mail
    read_tools(cache, [MAIL, " "], [])
    read_tools(cache, [MAIL, "  "], [])

    assert read_tools(cache, [WEATHER], []) is not weather


def test_a_catalog_too_large_to_keep_is_still_parsed_and_evicts_no_other() -> None:
    cache = CatalogCache(max_bytes=16 * (len(MAIL) + 20))
    mail = read_tools(cache, [MAIL], [])

    assert len(read_tools(cache, [WEATHER] * 50, []).catalog.items) == 50
    assert read_tools(cache, [MAIL], []) is mail


def test_what_cannot_be_parsed_is_reported_every_time() -> None:
    cache = CatalogCache()
    for _ in range(2):
        with pytest.raises(InvalidInput, match="namespaces: has 2 entries for 1 tool texts"):
            read_tools(cache, [MAIL], ["a", "b"])


def test_a_lone_surrogate_does_not_prevent_parsing() -> None:
    assert read_tools(CatalogCache(), [MAIL.replace("Sends", "\ud83d")], []).catalog.kind == "tools"


def test_many_threads_get_the_same_selection_from_one_catalog(router: Router) -> None:
    tools = [json.dumps({"name": f"tool_{n}", "description": f"Does the {n}th thing"}) for n in range(40)] + [MAIL]
    barrier = threading.Barrier(8)

    def ask(query: str) -> list[tuple[str, float]]:
        barrier.wait()
        return [(item.name, round(item.score, 4)) for item in router.select_tools(query, tools).items]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, ["write an email to Ada"] * 8))

    assert all(answer == answers[0] for answer in answers)
    assert len(answers[0]) == 5


def test_a_cached_catalog_gives_the_same_selection_as_a_new_one(router: Router) -> None:
    script = DDL + "CREATE TABLE customers (id INT, city TEXT); nonsense;"
    first, second = (router.select_tables("which cities do customers live in", script) for _ in range(2))

    assert (first.items, first.unparsed, first.warnings) == (second.items, second.unparsed, second.warnings)
    assert router.cache_counts["catalogs"].num_hits == 1


def test_a_catalog_can_be_pickled() -> None:
    for catalog in (Catalog.of_tools([MAIL, WEATHER]), Catalog.of_tables(DDL), Catalog.of_documents(["a", "b"])):
        assert pickle.loads(pickle.dumps(catalog)) == catalog


def test_a_pickled_catalog_is_ranked_like_its_texts(router: Router) -> None:
    stored = pickle.loads(pickle.dumps(Catalog.of_tools([MAIL, WEATHER])))

    assert (
        router.select("write to Ada", stored, top_n=1).items
        == router.select_tools("write to Ada", [MAIL, WEATHER], top_n=1).items
    )
    assert router.cache_counts["catalogs"].num_hits == 1


def test_a_catalog_of_documents_is_ranked_but_not_cached(router: Router) -> None:
    catalog = Catalog.of_documents(["the weather", "an email"])

    assert router.select("weather", catalog).items == router.rerank("weather", ["the weather", "an email"]).items
    assert router.cache_counts["catalogs"].num_kept == 0


def test_an_option_for_another_kind_of_catalog_is_rejected(router: Router) -> None:
    with pytest.raises(InvalidInput, match="keep_columns: does not apply to tools, only to tables"):
        router.select("x", Catalog.of_tools([MAIL]), keep_columns=0.5)
