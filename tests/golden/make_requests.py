"""Writes requests.json: what the golden answers answer. Run it from the repository's root after editing it.

A string `@PATH` in a request stands for the text of that file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TOOL_FILES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "examples/tools").glob("*.json"))
FORMS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "tests/fixtures/tools").glob("*.json*"))
SCRIPTS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "tests/fixtures/tables").glob("*/*.sql"))

TOOL_QUERIES = [
    "refund the last card payment",
    "email the quarterly report to Ada and put a reminder in my calendar for Monday",
    "switch off the lights in the living room",
    "Überweise die Rechnung und schick eine Bestätigung per E-Mail",
    "¿Qué tiempo hará mañana en Lisboa?",
    "预订下周五从北京到上海的航班",
    "会議室を予約して、参加者に通知する",
    "Закрой тикет и напиши клиенту",
    "احجز لي فندقا في القاهرة ليلتين",
    "translate this paragraph into French and summarise it",
    "roll back the last deployment of the billing service",
    "how many days of leave does Sara have left",
    "list the open issues nobody is assigned to",
    "find the shortest route to the airport that avoids tolls",
    "drop the index on orders and vacuum the table",
    "make me a sandwich",
    "asdf qwer zxcv",
    "call customer 4711 back about the offer we sent",
    "share the folder with the design team, read only",
    "do it again",
]
TABLE_QUERIES = [
    "Which parcels arrived later than promised?",
    "total revenue per customer and month",
    "Welche Fahrer haben letzte Woche Überstunden gemacht?",
    "¿Qué clientes no han comprado nada este año?",
    "每个仓库的库存是多少",
    "who approved the refund of order 17",
    "average delivery time by carrier",
    "nothing that any of this could answer",
]
DOCUMENTS = [
    "Paris is the capital of France.",
    "Berlin is the capital of Germany.",
    "The Seine flows through Paris.",
    "",
    "Le Louvre est un musée parisien.",
    "パリはフランスの首都です。",
    "Bananas ripen faster next to apples.",
]
CHATS: list[list[dict[str, str]]] = [
    [
        {"role": "user", "content": "I bought a lamp and it arrived broken."},
        {"role": "assistant", "content": "Sorry to hear that. Shall I refund the card payment?"},
        {"role": "user", "content": "yes please"},
    ],
    [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Which flights leave for Rome on Friday morning before nine?"},
    ],
    [
        {"role": "user", "content": "Schreib Jonas."},
        {"role": "assistant", "content": "Was soll ich ihm schreiben?"},
        {"role": "tool", "content": "{}"},
        {"role": "user", "content": "Dass ich später komme."},
    ],
    [{"role": "assistant", "content": "Would you like me to turn on the heating?"}],
    [{"role": "user", "content": "word " * 700}, {"role": "user", "content": "and now book it"}],
]


def tools_of(*paths: str, namespaces: bool = False) -> list[dict[str, str]]:
    return [{"json": f"@{path}", **({"namespace": Path(path).stem} if namespaces else {})} for path in paths]


def text(query: str) -> dict[str, Any]:
    return {"text": query}


def chat(messages: list[dict[str, str]]) -> dict[str, Any]:
    return {"conversation": {"messages": messages}}


def tool_requests() -> list[tuple[str, dict[str, Any]]]:
    everything = tools_of(*TOOL_FILES)
    made = [(f"tools-{place}", {"query": text(query), "tools": everything}) for place, query in enumerate(TOOL_QUERIES)]
    made += [
        (
            f"tools-named-{place}",
            {"query": text(query), "tools": tools_of(*TOOL_FILES[place : place + 6], namespaces=True)},
        )
        for place, query in enumerate(TOOL_QUERIES[:10])
    ]
    made += [
        (
            f"tools-form-{Path(path).stem}",
            {"query": text("what is the weather in Oslo"), "tools": tools_of(path), "top_n": 0},
        )
        for path in FORMS
        if not path.endswith("nested.txt")
    ]
    made += [
        (f"tools-chat-{place}", {"query": chat(messages), "tools": everything, "top_n": 3})
        for place, messages in enumerate(CHATS)
    ]
    few = tools_of(*TOOL_FILES[:4])
    options: dict[str, dict[str, Any]] = {
        "all": {"top_n": 0},
        "one": {"top_n": 1},
        "min-score": {"top_n": 0, "min_score": 0.5},
        "nothing-above": {"min_score": 1.0},
        "ten-candidates": {"max_candidates": 10},
        "all-candidates": {"max_candidates": 0, "top_n": 8},
        "three-candidates-pinned": {"max_candidates": 3, "always_include": ["send_message", "no_such_tool"]},
        "pinned-twice": {"top_n": 2, "always_include": ["create_event", "create_event", "x"]},
        "model": {"expected_model": "shortlist-small"},
        "degraded-allowed": {"allow_degraded": True},
    }
    for name, option in options.items():
        for place, query in enumerate((TOOL_QUERIES[0], TOOL_QUERIES[3])):
            made.append((f"tools-option-{name}-{place}", {"query": text(query), "tools": everything, **option}))
    bad: dict[str, dict[str, Any]] = {
        "no-query": {"tools": few},
        "blank-query": {"query": text(" \t\n"), "tools": few},
        "empty-chat": {"query": chat([]), "tools": few},
        "chat-without-role": {"query": chat([{"role": "", "content": "x"}]), "tools": few},
        "chat-without-text": {"query": chat([{"role": "user", "content": " "}]), "tools": few},
        "no-tools": {"query": text("x"), "tools": []},
        "negative-top": {"query": text("x"), "tools": few, "top_n": -1},
        "negative-candidates": {"query": text("x"), "tools": few, "max_candidates": -2},
        "score-above": {"query": text("x"), "tools": few, "min_score": 1.5},
        "score-below": {"query": text("x"), "tools": few, "min_score": -0.1},
        "other-model": {"query": text("x"), "tools": few, "expected_model": "another"},
        "other-version": {"query": text("x"), "tools": few, "expected_version": "0.0.1"},
        "many-names": {"query": text("x"), "tools": few, "always_include": ["n"] * 1001},
        "long-name": {"query": text("x"), "tools": few, "always_include": ["n" * 1001]},
        "long-namespace": {"query": text("x"), "tools": [{"json": "{}", "namespace": "n" * 1001}]},
        "long-model": {"query": text("x"), "tools": few, "expected_model": "m" * 1001},
        "broken-json": {"query": text("send a mail"), "tools": [*few, {"json": '{"name": '}]},
        "no-name": {"query": text("send a mail"), "tools": [*few, {"json": '{"description": "nameless"}'}]},
        "not-a-tool": {"query": text("send a mail"), "tools": [{"json": '[1, null, "x", {}]'}, {"json": ""}]},
        "invalid-schema": {
            "query": text("x"),
            "tools": [
                {
                    "json": json.dumps(
                        {"name": "odd", "parameters": {"type": "object", "properties": {"a": {"type": 7}}}}
                    )
                }
            ],
        },
        "duplicate-names": {"query": text("send"), "tools": [{"json": '{"name": "send"}'}] * 3},
    }
    made += [(f"tools-odd-{name}", request) for name, request in bad.items()]
    made.append(("tools-long-query", {"query": text("please find the invoice " * 300), "tools": few}))
    wide = {
        "name": "wide",
        "description": "Does many things. " * 60,
        "parameters": {
            "type": "object",
            "properties": {
                f"field_{n}": {"type": "string", "description": f"what field {n} is for"} for n in range(90)
            },
        },
    }
    made.append(("tools-long-document", {"query": text("fill field 77"), "tools": [{"json": json.dumps(wide)}, *few]}))
    return made


def table_requests() -> list[tuple[str, dict[str, Any]]]:
    ddl = "@examples/schema.sql"
    made = [(f"tables-{place}", {"query": text(query), "ddl": ddl}) for place, query in enumerate(TABLE_QUERIES)]
    for place, path in enumerate(SCRIPTS):
        dialect = path.split("/")[-2]
        query = text(TABLE_QUERIES[place % len(TABLE_QUERIES)])
        made.append(
            (f"tables-given-{dialect}-{Path(path).stem}", {"query": query, "ddl": f"@{path}", "dialect": dialect})
        )
        made.append((f"tables-found-{dialect}-{Path(path).stem}", {"query": query, "ddl": f"@{path}", "top_n": 0}))
    question = text(TABLE_QUERIES[0])
    options: dict[str, dict[str, Any]] = {
        "all": {"top_n": 0},
        "columns": {"keep_columns": 0.4},
        "all-columns": {"keep_columns": 1.0, "top_n": 2},
        "pinned": {"top_n": 1, "always_include": ["carriers", "public.orders", "nowhere"]},
        "five-candidates": {"max_candidates": 5},
        "five-candidates-columns": {"max_candidates": 5, "keep_columns": 0.2},
        "min-score": {"min_score": 0.6, "top_n": 0},
        "model": {"expected_model": "shortlist-small"},
    }
    made += [(f"tables-option-{name}", {"query": question, "ddl": ddl, **option}) for name, option in options.items()]
    odd: dict[str, dict[str, Any]] = {
        "no-query": {"ddl": ddl},
        "empty": {"query": question, "ddl": ""},
        "no-sql": {"query": question, "ddl": "these are no statements; at all"},
        "unknown-dialect": {"query": question, "ddl": ddl, "dialect": "klingon"},
        "columns-above": {"query": question, "ddl": ddl, "keep_columns": 1.5},
        "columns-below": {"query": question, "ddl": ddl, "keep_columns": -0.5},
        "long-dialect": {"query": question, "ddl": ddl, "dialect": "d" * 1001},
        "twice": {"query": question, "ddl": "CREATE TABLE a (id INT); CREATE TABLE a (id INT, b TEXT);"},
        "broken": {
            "query": question,
            "ddl": "CREATE TABLE a (id INT);\nCREATE TABLE b (id INT,,);\nCREATE TABLE c (x INT);",
        },
        "postgresql": {"query": question, "ddl": "CREATE TABLE parcels (id serial);", "dialect": "postgresql"},
    }
    made += [(f"tables-odd-{name}", request) for name, request in odd.items()]
    made += [
        (f"tables-chat-{place}", {"query": chat(messages), "ddl": ddl, "top_n": 3})
        for place, messages in enumerate(CHATS[:2])
    ]
    return made


def rerank_requests() -> list[tuple[str, dict[str, Any]]]:
    query = text("What is the capital of France?")
    options: dict[str, dict[str, Any]] = {
        "plain": {},
        "all": {"top_n": 0},
        "bare": {"return_documents": False},
        "three-candidates": {"max_candidates": 3},
        "windows": {"max_pair_tokens": 64, "max_query_tokens": 16, "overlap_tokens": 8},
        "pair-too-long": {"max_pair_tokens": 100_000},
        "pair-zero": {"max_pair_tokens": 0},
        "query-too-long": {"max_query_tokens": 400},
        "negative-overlap": {"overlap_tokens": -1},
        "min-score": {"min_score": 0.5},
        "other-model": {"expected_model": "another"},
    }
    made = [(f"rerank-{name}", {"query": query, "documents": DOCUMENTS, **option}) for name, option in options.items()]
    long = (
        "\n".join(f"Paragraph {n} is about bread, rivers and old bridges." for n in range(200))
        + " The capital is Paris."
    )
    made.append(("rerank-long", {"query": query, "documents": [*DOCUMENTS[:2], long], "overlap_tokens": 40}))
    made.append(("rerank-long-query", {"query": text("capital of France " * 200), "documents": DOCUMENTS}))
    made.append(
        ("rerank-chat", {"query": chat(CHATS[1]), "documents": ["A flight to Rome leaves at 8:10.", *DOCUMENTS]})
    )
    made.append(("rerank-none", {"query": query, "documents": []}))
    made.append(("rerank-no-query", {"documents": DOCUMENTS}))
    return made


def http_requests() -> list[tuple[str, dict[str, Any]]]:
    query = "capital of France"
    mail = {"name": "send_email", "description": "Sends an e-mail.", "parameters": {"type": "object", "properties": {}}}
    events = {"type": "function", "function": {"name": "create_event", "description": "Adds to the calendar."}}
    select = {"query": "mail Ada", "tools": [mail, events]}
    posts: dict[str, tuple[str, Any]] = {
        "v1": ("/v1/rerank", {"query": query, "documents": DOCUMENTS, "top_n": 3}),
        "v1-objects": (
            "/v1/rerank",
            {"query": {"text": query}, "documents": [{"text": "Paris", "id": 7}, {"text": "Rome"}]},
        ),
        "v1-fields": (
            "/v1/rerank",
            {"query": query, "documents": [{"a": "Paris", "b": "x"}], "rank_fields": ["a", "b"]},
        ),
        "v2": ("/v2/rerank", {"query": query, "documents": DOCUMENTS, "model": "rerank-v3.5", "max_tokens_per_doc": 2}),
        "v2-unknown": ("/v2/rerank", {"query": query, "documents": ["Paris"], "topn": 3}),
        "v2-no-documents": ("/v2/rerank", {"query": query}),
        "v2-wrong-top": ("/v2/rerank", {"query": query, "documents": ["a"], "top_n": 0}),
        "v2-blank": ("/v2/rerank", {"query": " ", "documents": ["a"]}),
        "v2-image": ("/v2/rerank", {"query": query, "documents": [{"image": "x"}]}),
        "tei": ("/rerank", {"query": query, "texts": DOCUMENTS[:3], "return_text": True}),
        "tei-raw": ("/rerank", {"query": query, "texts": DOCUMENTS[:3], "raw_scores": True, "truncate": True}),
        "tei-wrong": ("/rerank", {"query": query, "texts": "Paris"}),
        "tools": ("/v1/tools:select", select),
        "tools-camel": ("/v1/tools:select", {**select, "topN": 1, "alwaysInclude": ["create_event"]}),
        "tools-both-cases": ("/v1/tools:select", {**select, "topN": 1, "top_n": 1}),
        "tools-unknown": ("/v1/tools:select", {**select, "top_m": 1}),
        "tools-string-number": ("/v1/tools:select", {**select, "top_n": "1"}),
        "tools-wrong-type": ("/v1/tools:select", {**select, "top_n": "one"}),
        "tools-message": ("/v1/tools:select", {**select, "query": {"conversation": {"messages": CHATS[0]}}}),
        "tools-not-a-list": ("/v1/tools:select", {**select, "tools": mail}),
        "tables": (
            "/v1/tables:select",
            {"query": TABLE_QUERIES[0], "ddl": "@examples/schema.sql", "keep_columns": 0.3},
        ),
        "tables-camel": (
            "/v1/tables:select",
            {"query": "late parcels", "ddl": "@examples/schema.sql", "keepColumns": 0.1},
        ),
        "tables-postgresql": (
            "/v1/tables:select",
            {"query": "x", "ddl": "CREATE TABLE a (id int)", "dialect": "postgresql"},
        ),
        "no-object": ("/v1/tools:select", [1, 2]),
        "no-route": ("/v1/nothing", {}),
    }
    made: list[tuple[str, dict[str, Any]]] = [
        (f"http-{name}", {"path": path, "body": body}) for name, (path, body) in posts.items()
    ]
    made.append(("http-no-json", {"path": "/v1/rerank", "raw": '{"query": '}))
    made.append(("http-nan", {"path": "/v1/rerank", "raw": '{"query": "x", "documents": [NaN]}'}))
    made.append(("http-twice", {"path": "/v1/rerank", "raw": '{"query": "x", "query": "y"}'}))
    made.append(("http-content-type", {"path": "/v1/rerank", "raw": "{}", "content_type": "text/plain"}))
    made += [
        (f"http-get{path.replace('/', '-')}", {"path": path})
        for path in ("/v1/info", "/info", "/healthz", "/readyz", "/v1/rerank")
    ]
    return made


def command_requests() -> list[tuple[str, dict[str, Any]]]:
    commands = {
        "tools": ["tools", TOOL_QUERIES[0], "examples/tools", "--json", "--top-n", "3"],
        "tools-pinned": ["tools", TOOL_QUERIES[1], "examples/tools", "--json", "--always-include", "translate_text"],
        "tables": ["tables", TABLE_QUERIES[0], "examples/schema.sql", "--json"],
        "tables-columns": ["tables", TABLE_QUERIES[0], "examples/schema.sql", "--json", "--keep-columns", "0.3"],
        "rerank": ["rerank", "calendar", "tests/fixtures/serialise/orders.txt", "--json"],
        "wrong-number": ["tools", "x", "examples/tools", "--top-n", "-3"],
        "wrong-file": ["tools", "x", "examples/no-such-file.json"],
        "unknown-dialect": ["tables", "x", "examples/schema.sql", "--dialect", "klingon"],
    }
    return [(f"command-{name}", {"arguments": arguments}) for name, arguments in commands.items()]


def main() -> None:
    """Writes the file."""
    kinds = {
        "SelectTools": tool_requests(),
        "SelectTables": table_requests(),
        "Rerank": rerank_requests(),
        "http": http_requests(),
        "command": command_requests(),
    }
    lines = [
        json.dumps(
            {"name": name, "kind": kind, **({"request": made} if kind[0].isupper() else made)}, ensure_ascii=False
        )
        for kind, requests in kinds.items()
        for name, made in requests
    ]
    assert len({json.loads(line)["name"] for line in lines}) == len(lines)
    (HERE / "requests.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(len(lines), "requests")


if __name__ == "__main__":
    main()
