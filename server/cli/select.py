"""The `tools`, `tables`, `rerank` and `info` commands: in this process, or against a server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shortlist.server.cli.connection import add_connection_options, connect, connection_options_in
from shortlist.server.cli.input import Script, read_documents, read_script, read_tool_texts
from shortlist.server.cli.model import add_model_options, load_router, model_options_in, slow_notice
from shortlist.server.cli.numbers import count, number
from shortlist.server.cli.output import print_info, print_json, print_notes, print_selection
from shortlist.v1 import router_pb2 as pb

__all__ = ["add_parsers"]

if TYPE_CHECKING:
    from shortlist.client.client import Calls

    _AnyClient = Calls[pb.SelectToolsResponse, pb.SelectTablesResponse, pb.RerankResponse, pb.GetInfoResponse]
_Response = pb.SelectToolsResponse | pb.SelectTablesResponse | pb.RerankResponse
_Locate = Callable[[pb.UnparsedItem], str]


def add_parsers(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `tools`, `tables`, `rerank` and `info`."""
    _add_tools(subparsers)
    _add_tables(subparsers)
    _add_rerank(subparsers)
    _add_info(subparsers)


def _add_tools(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("tools", help="pick the tools that serve a query", description="Ranks tools.")
    _add_input(parser, "QUERY", "JSON or JSON-lines files, folders of them, or - for stdin (the default)")
    parser.add_argument("--namespace", default="", metavar="NAME", help="the service all these tools belong to")
    _add_always_include(parser, "tool")
    _add_selection_options(parser)
    parser.set_defaults(run=_run_tools)


def _add_tables(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("tables", help="pick the tables that answer a question", description="Ranks tables.")
    _add_input(parser, "QUERY", "SQL files, folders of them, or - for stdin (the default)")
    parser.add_argument("--dialect", default="", help="the SQL dialect, such as postgres or tsql (default: detected)")
    _add_always_include(parser, "table")
    parser.add_argument(
        "--keep-columns", type=_score, default=0.0, metavar="SHARE", help="name this share of their columns too, 0..1"
    )
    _add_selection_options(parser)
    parser.set_defaults(run=_run_tables)


def _add_rerank(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "rerank",
        help="pick the documents that fit a query",
        description="Ranks documents, one a line; blank lines do not count.",
    )
    _add_input(parser, "QUERY", "text files, folders of *.txt, or - for stdin (the default)")
    _add_selection_options(parser)
    parser.set_defaults(run=_run_rerank)


def _add_info(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("info", help="describe the model and the limits", description="Describes the model.")
    _add_common_options(parser)
    parser.set_defaults(run=_run_info)


def _add_input(parser: argparse.ArgumentParser, query: str, paths: str) -> None:
    parser.add_argument("query", metavar=query, help="what is looked for, in any language")
    parser.add_argument("paths", metavar="PATH", nargs="*", help=paths)


def _add_always_include(parser: argparse.ArgumentParser, noun: str) -> None:
    parser.add_argument(
        "--always-include",
        action="append",
        default=[],
        metavar="NAME",
        help=f"a {noun} to return in any case; repeatable",
    )


def _add_selection_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--top-n", type=count, default=5, metavar="N", help="how many to return, 0 = all (default: 5)")
    parser.add_argument("--min-score", type=_score, default=0.0, metavar="S", help="leave out what scores less, 0..1")
    parser.add_argument(
        "--max-candidates", type=count, default=50, metavar="N", help="how many to score, 0 = all (default: 50)"
    )
    parser.add_argument("--expected-model", default="", metavar="NAME", help="fail if another model answers")
    parser.add_argument("--expected-version", default="", metavar="VERSION", help="fail if another version answers")
    _add_common_options(parser)


def _add_common_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the response as proto3 JSON")
    parser.add_argument(
        "--timeout", type=_timeout, metavar="S", help="seconds to wait for the answer (default: no limit)"
    )
    add_connection_options(parser)
    add_model_options(parser)
    parser.set_defaults(parser=parser)


def _run_tools(args: argparse.Namespace) -> int:
    _check_usage(args)
    tools = read_tool_texts(args.paths)
    with _client(args) as client:
        response = client.select_tools(
            args.query,
            tools.texts,
            namespaces=[args.namespace] * len(tools.texts),
            top_n=args.top_n,
            min_score=args.min_score,
            always_include=args.always_include,
            max_candidates=args.max_candidates,
            expected_model=args.expected_model,
            expected_version=args.expected_version,
            timeout_seconds=args.timeout,
        )
    return _print_response(args, response, "tools", lambda unparsed: tools.locate(unparsed.text_index, unparsed.line))


def _run_tables(args: argparse.Namespace) -> int:
    _check_usage(args)
    script = read_script(args.paths)
    with _client(args) as client:
        response = client.select_tables(
            args.query,
            script.text,
            dialect=args.dialect,
            top_n=args.top_n,
            min_score=args.min_score,
            always_include=args.always_include,
            max_candidates=args.max_candidates,
            expected_model=args.expected_model,
            expected_version=args.expected_version,
            keep_columns=args.keep_columns,
            timeout_seconds=args.timeout,
        )
    return _print_response(args, response, "tables", _locate_in(script))


def _run_rerank(args: argparse.Namespace) -> int:
    _check_usage(args)
    documents = read_documents(args.paths)
    with _client(args) as client:
        response = client.rerank(
            args.query,
            documents,
            top_n=args.top_n,
            min_score=args.min_score,
            max_candidates=args.max_candidates,
            expected_model=args.expected_model,
            expected_version=args.expected_version,
            timeout_seconds=args.timeout,
        )
    return _print_response(args, response, "documents", _locate_document)


def _run_info(args: argparse.Namespace) -> int:
    _check_usage(args)
    with _client(args) as client:
        info = client.get_info(timeout_seconds=args.timeout)
    if args.json:
        print_json(info)
    else:
        print_info(info)
    return 0


def _check_usage(args: argparse.Namespace) -> None:
    """Refuses what no single option can know to be wrong."""
    if args.address and (options := model_options_in(args, args.parser)):
        args.parser.error(f"the server at --address has its own model; leave out {', '.join(options)}")
    if not args.address and (options := connection_options_in(args)):
        args.parser.error(f"there is no --address of a server; leave out {', '.join(options)}")
    if "paths" in args and not args.paths and sys.stdin.isatty():
        args.parser.error("give a PATH, or pipe the input into stdin")


@contextmanager
def _client(args: argparse.Namespace) -> Iterator[_AnyClient]:
    if args.address:
        with connect(args) as client, slow_notice(f"waiting for {args.address} …"):
            yield client
        return
    with slow_notice(f"loading model {args.model} …"):
        router = load_router(args)
        from shortlist.server.cli.local import LocalClient  # the parsers: a call of a server needs none of them

        local = LocalClient(router)
    with slow_notice("ranking …"):
        yield local


def _print_response(args: argparse.Namespace, response: _Response, noun: str, locate: _Locate) -> int:
    if args.json:
        print_json(response)
        return 0
    print_selection(response.items, response.report, noun=noun)
    print_notes(response.report, locate=locate)
    return 0


def _locate_document(unparsed: pb.UnparsedItem) -> str:
    return f"document {unparsed.index}"


def _locate_in(script: Script) -> _Locate:
    def locate(unparsed: pb.UnparsedItem) -> str:
        if not unparsed.line:
            return f"statement {unparsed.index}"
        name, line = script.locate(unparsed.line)
        return f"{name}:{line}:{unparsed.column}"

    return locate


def _score(text: str) -> float:
    score = number(text)
    if not 0.0 <= score <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is out of range; give 0 to 1")
    return score


def _timeout(text: str) -> float:
    seconds = number(text)
    if not seconds > 0.0:
        raise argparse.ArgumentTypeError(f"{text} is no time; give more than 0 seconds")
    return seconds
