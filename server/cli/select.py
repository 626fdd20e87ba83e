"""The `tools`, `tables`, `rerank` and `info` commands, which run in this process or call a server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from shortlist.schemas.document import Unparsed
from shortlist.schemas.errors import InvalidInput
from shortlist.schemas.options import Kind, Option, SelectionOptions, make_options, options_of
from shortlist.schemas.results import Selection, ServerInfo, describe_nothing
from shortlist.schemas.selector import Selector
from shortlist.server.cli.connection import add_connection_options, connect, connection_options_in
from shortlist.server.cli.encoding import check_encoding
from shortlist.server.cli.input import Script, read_documents, read_script, read_tool_texts
from shortlist.server.cli.model import add_model_options, load_router, model_options_in, slow_notice
from shortlist.server.cli.numbers import number, whole
from shortlist.server.cli.output import print_info, print_json, print_notes, print_selection
from shortlist.server.convert import write_info, write_selection
from shortlist.v1 import router_pb2 as pb

__all__ = ["add_parsers"]

_Locate = Callable[[Unparsed], str]
_ANSWERS: dict[Kind, Any] = {
    "tools": pb.SelectToolsResponse,
    "tables": pb.SelectTablesResponse,
    "documents": pb.RerankResponse,
}


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
    _add_selection_options(parser, "tools")
    parser.set_defaults(run=_run_tools)


def _add_tables(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("tables", help="pick the tables that answer a question", description="Ranks tables.")
    _add_input(parser, "QUERY", "SQL files, folders of them, or - for stdin (the default)")
    parser.add_argument("--dialect", default="", help="the SQL dialect, such as postgres or tsql (default: detected)")
    _add_selection_options(parser, "tables")
    parser.set_defaults(run=_run_tables)


def _add_rerank(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "rerank",
        help="pick the documents that fit a query",
        description="Ranks documents, one per line; blank lines are skipped.",
    )
    _add_input(parser, "QUERY", "text files, folders of *.txt, or - for stdin (the default)")
    _add_selection_options(parser, "documents")
    parser.set_defaults(run=_run_rerank)


def _add_info(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("info", help="describe the model and the limits", description="Describes the model.")
    _add_common_options(parser)
    parser.set_defaults(run=_run_info)


def _add_input(parser: argparse.ArgumentParser, query: str, paths: str) -> None:
    parser.add_argument("query", metavar=query, help="the query, in any language")
    parser.add_argument("paths", metavar="PATH", nargs="*", help=paths)
    parser.add_argument(
        "--encoding",
        type=_encoding,
        default=None,
        metavar="NAME",
        help="of files without a byte-order mark, such as cp1252 (default: utf-8)",
    )


def _add_selection_options(parser: argparse.ArgumentParser, kind: Kind) -> None:
    """Adds a flag for each option that applies to the kind."""
    for option in options_of(kind):
        _add_option(parser, option)
    _add_common_options(parser)


def _add_option(parser: argparse.ArgumentParser, option: Option) -> None:
    flag = f"--{option.name.replace('_', '-')}"
    add = partial(parser.add_argument, flag, help=option.description, default=option.default)
    match option.default:
        case True:
            add(action=argparse.BooleanOptionalAction)
        case False:
            add(action="store_true")
        case str():
            add(metavar="TEXT")
        case tuple():
            add(action="append", default=[], metavar="NAME", help=f"{option.description}; repeatable")
        case float():
            add(type=_reader(option, number), metavar="X", help=f"{option.description} (default: {option.default:g})")
        case None:
            add(type=_reader(option, whole), metavar="N")
        case _:
            add(type=_reader(option, whole), metavar="N", help=f"{option.description} (default: {option.default})")


def _encoding(name: str) -> str:
    try:
        return check_encoding(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _reader(option: Option, read: Callable[[str], float]) -> Callable[[str], float]:
    """Returns a function that reads a number and checks it against the option's range."""

    def read_option(text: str) -> float:
        value = read(text)
        try:
            make_options(option.kinds[0], None, {option.name: value})  # type: ignore[misc]  # its own name
        except InvalidInput as error:
            raise argparse.ArgumentTypeError(str(error).removeprefix(f"{option.name}: ")) from None
        return value

    return read_option


def _options_in(args: argparse.Namespace, kind: Kind) -> SelectionOptions:
    return SelectionOptions(**{option.name: getattr(args, option.name) for option in options_of(kind)})


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
    tools = read_tool_texts(args.paths, encoding=args.encoding or "")
    with _selector(args) as selector:
        selection = selector.select_tools(
            args.query,
            tools.texts,
            _options_in(args, "tools"),
            namespaces=[args.namespace] * len(tools.texts),
            timeout_seconds=args.timeout,
        )
    return _print(args, selection, "tools", lambda unparsed: tools.locate(unparsed.text_index, unparsed.line))


def _run_tables(args: argparse.Namespace) -> int:
    _check_usage(args)
    script = read_script(args.paths, encoding=args.encoding or "")
    with _selector(args) as selector:
        selection = selector.select_tables(
            args.query,
            script.text,
            _options_in(args, "tables"),
            dialect=args.dialect or None,
            timeout_seconds=args.timeout,
        )
    return _print(args, selection, "tables", _locate_in(script))


def _run_rerank(args: argparse.Namespace) -> int:
    _check_usage(args)
    documents = read_documents(args.paths, encoding=args.encoding or "")
    with _selector(args) as selector:
        selection = selector.rerank(args.query, documents, _options_in(args, "documents"), timeout_seconds=args.timeout)
    return _print(args, selection, "documents", _locate_document)


def _run_info(args: argparse.Namespace) -> int:
    _check_usage(args)
    info = _info_of(args)
    if args.json:
        print_json(write_info(info))
    else:
        print_info(info)
    return 0


def _info_of(args: argparse.Namespace) -> ServerInfo:
    if args.address:
        with connect(args) as client, slow_notice(f"waiting for {args.address} …"):
            return client.get_info(timeout_seconds=args.timeout)
    with slow_notice(f"loading model {args.model} …"):
        router = load_router(args)
        from shortlist.server.services import describe  # imports the parsers, which calling a server does not need

        return describe(router)


def _check_usage(args: argparse.Namespace) -> None:
    """Rejects wrong combinations of options."""
    if args.address and (options := model_options_in(args, args.parser)):
        args.parser.error(f"the server at --address has its own model; leave out {', '.join(options)}")
    if not args.address and (options := connection_options_in(args)):
        args.parser.error(f"without --address no server is called; leave out {', '.join(options)}")
    if "paths" in args and not args.paths and sys.stdin.isatty():
        args.parser.error("give a PATH, or pipe the input into stdin")


@contextmanager
def _selector(args: argparse.Namespace) -> Iterator[Selector]:
    if args.address:
        with connect(args) as client, slow_notice(f"waiting for {args.address} …"):
            yield client
        return
    with slow_notice(f"loading model {args.model} …"):
        router = load_router(args)
    with slow_notice("ranking …"):
        yield router


def _print(args: argparse.Namespace, selection: Selection, kind: Kind, locate: _Locate) -> int:
    """Prints the answer; returns 1 if there was nothing to rank, and says so on stderr."""
    has_nothing = not selection.num_candidates
    if args.json:
        print_json(write_selection(selection, _ANSWERS[kind]))
        if has_nothing:
            print(f"shortlist: {describe_nothing(kind, len(selection.unparsed))}", file=sys.stderr)
        return int(has_nothing)
    print_selection(selection, noun=kind)
    print_notes(selection, locate=locate)
    return int(has_nothing)


def _locate_document(unparsed: Unparsed) -> str:
    return f"document {unparsed.index}"


def _locate_in(script: Script) -> _Locate:
    def locate(unparsed: Unparsed) -> str:
        if not unparsed.line:
            return f"statement {unparsed.index}"
        name, line = script.locate(unparsed.line)
        return f"{name}:{line}:{unparsed.column}"

    return locate


def _timeout(text: str) -> float:
    seconds = number(text)
    if not seconds > 0.0:
        raise argparse.ArgumentTypeError(f"{text} is not a valid timeout; give more than 0 seconds")
    return seconds
