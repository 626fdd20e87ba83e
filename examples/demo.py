"""Starts a real server, sends it four requests, prints the selected tools and tables, and stops the server.

Run it with ``make demo`` or ``python examples/demo.py [--json]``. It exits with 0 on success; on failure it prints the
reason and exits with 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from google.protobuf.json_format import MessageToDict

from shortlist import Client
from shortlist.schemas.errors import ShortlistError
from shortlist.schemas.sql.parse import parse_tables
from shortlist.schemas.tools.parse import parse_tools
from shortlist.v1.router_pb2 import SelectedItem, SelectionReport, SelectTablesResponse, SelectToolsResponse

Response = SelectToolsResponse | SelectTablesResponse

EXAMPLES = Path(__file__).resolve().parent
SERVER_COMMAND = (sys.executable, "-m", "shortlist.server.cli.main", "serve", "--port", "0")
ADDRESS_PREFIX = "listening on grpc://"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
TOP_N = 5
BAR_CELLS = 8
CACHING_NOTE = "The first request for a catalog embeds its documents, which takes longer. Later requests reuse them."


class DemoError(Exception):
    """The demo cannot continue; its text is printed for the user."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request of the demo."""

    kind: str  # "tools" or "tables"
    language: str
    text: str


# How many of the catalog's 175 tools, or of the schema's 58 tables, the cross-encoder scores.
MAX_CANDIDATES = 25

QUESTIONS = (
    Question("tools", "English", "Refund half of order 4711 and email the customer"),
    Question("tables", "English", "Which customers have overdue invoices, and how much do they still owe us?"),
    Question("tools", "German", "Wie wird das Wetter am Wochenende in Hamburg?"),
    Question("tables", "Japanese", "各社員の今年の有給休暇はあと何日残っていますか？"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo and returns its exit status."""
    parser = argparse.ArgumentParser(description="Start a Shortlist server, send it four requests, and stop it.")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # print "?" for a character that the terminal cannot show
    try:
        run(as_json=options.json)
    except (DemoError, ShortlistError) as error:
        print(f"demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo stopped", file=sys.stderr)
        return 1
    return 0


def run(*, as_json: bool) -> None:
    """Starts a server, sends every question to it, and prints each answer as it arrives."""
    started = time.monotonic()
    answers: list[dict[str, Any]] = []
    with serving() as address, Client(address) as client:
        startup_s = time.monotonic() - started
        if not as_json:
            print(f"Server ready at {address}; it started in {startup_s:.1f} s.")
        for question in QUESTIONS:
            if not as_json:
                print_question(question)
            response = ask(client, question)
            answers.append(as_record(question, response))
            if not as_json:
                print_answer(question, response)
    total_s = time.monotonic() - started
    if as_json:
        report = {"startup_s": round(startup_s, 3), "total_s": round(total_s, 3), "answers": answers}
        print(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        print(f"\n{CACHING_NOTE}")
        print(f"Server stopped. The demo took {total_s:.1f} s.")


# ---------------------------------------------------------------- the server process


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Runs ``shortlist serve`` on a free port while the block runs, and yields its address."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(SERVER_COMMAND, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8")
        first_line: queue.Queue[str] = queue.Queue()
        reader = threading.Thread(target=drain, args=(process.stdout, first_line), daemon=True)
        reader.start()
        try:
            yield wait_for_address(first_line, errors)
            stop(process, errors)
        except ShortlistError as error:  # the server's own messages usually say why
            raise DemoError(f"{error}{tail(errors)}") from error
        finally:
            process.kill()  # has no effect on a process that has ended
            process.wait()
            reader.join(STOP_TIMEOUT_S)


def wait_for_address(first_line: queue.Queue[str], errors: IO[str]) -> str:
    """Returns HOST:PORT from the first line that the server prints.

    Raises:
        DemoError: the server ended, printed another line, or took too long; the text includes its stderr.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    with progress("Starting the server") as tick:
        while time.monotonic() < deadline:
            tick()
            with contextlib.suppress(queue.Empty):
                line = first_line.get(timeout=0.1).strip()
                if line.startswith(ADDRESS_PREFIX):
                    return line.removeprefix(ADDRESS_PREFIX)
                expected = f"its first line was {line!r}, not '{ADDRESS_PREFIX}HOST:PORT'"
                raise DemoError(f"the server did not start: {expected if line else 'its process ended'}{tail(errors)}")
    raise DemoError(f"the server was not ready within {START_TIMEOUT_S:.0f} s{tail(errors)}")


def drain(stream: IO[str], first_line: queue.Queue[str]) -> None:
    """Queues a stream's first line (empty if there is none), and reads the rest so that the writer never blocks."""
    with stream:
        first_line.put(stream.readline())
        for _ in stream:
            pass


def stop(process: subprocess.Popen[str], errors: IO[str]) -> None:
    """Stops the server with SIGTERM and waits for it.

    Raises:
        DemoError: the server does not stop in time, or exits with an error.
    """
    process.terminate()
    try:
        status = process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise DemoError(f"the server did not stop within {STOP_TIMEOUT_S:.0f} s of SIGTERM{tail(errors)}") from error
    if status != 0:
        raise DemoError(f"the server exited with status {status}{tail(errors)}")


def tail(errors: IO[str], num_lines: int = 15) -> str:
    """Formats the last lines of the server's stderr for an error message."""
    errors.seek(0)
    lines = errors.read().rstrip().splitlines()[-num_lines:]
    if not lines:
        return "; it wrote nothing to stderr"
    return "\nThe last lines of its stderr:\n" + textwrap.indent("\n".join(lines), "  | ")


@contextlib.contextmanager
def progress(label: str) -> Iterator[Callable[[], None]]:
    """Yields a function that redraws a line with the elapsed seconds; it draws nothing if stderr is not a terminal."""
    started = time.monotonic()
    is_terminal = sys.stderr.isatty()

    def tick() -> None:
        if is_terminal:
            print(f"\r{label} … {time.monotonic() - started:.1f} s", end="", file=sys.stderr, flush=True)

    try:
        yield tick
    finally:
        if is_terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


# ---------------------------------------------------------------- the questions


def read_catalog() -> tuple[list[str], list[str]]:
    """Reads examples/tools: one JSON text per service, and the names of the services, sent as namespaces."""
    paths = sorted((EXAMPLES / "tools").glob("*.json"))
    return [path.read_text(encoding="utf-8") for path in paths], [path.stem for path in paths]


def read_schema() -> str:
    """Reads examples/schema.sql."""
    return (EXAMPLES / "schema.sql").read_text(encoding="utf-8")


def ask(client: Client, question: Question) -> Response:
    """Sends one question and returns the response."""
    if question.kind == "tools":
        tools, services = read_catalog()
        return client.select_tools(
            question.text, tools, namespaces=services, top_n=TOP_N, max_candidates=MAX_CANDIDATES
        )
    return client.select_tables(
        question.text, read_schema(), dialect="postgres", top_n=TOP_N, max_candidates=MAX_CANDIDATES
    )


def as_record(question: Question, response: Response) -> dict[str, Any]:
    """Makes the JSON form of one answer."""
    fields = MessageToDict(response, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return {"kind": question.kind, "language": question.language, "question": question.text, "response": fields}


# ---------------------------------------------------------------- the printing


def print_question(question: Question) -> None:
    """Prints the question before the answer arrives."""
    heading = styled("1", f"Which {question.kind}? Question in {question.language}:")
    print(f"\n{heading}")
    for line in wrap(question.text, terminal_width() - 2):
        print(f"  {styled('36', line)}", flush=True)


def print_answer(question: Question, response: Response) -> None:
    """Prints a table of the selected items and the time of each stage."""
    rows = [as_row(question.kind, item) for item in response.items]
    origin = "Service" if question.kind == "tools" else "Schema"
    print()
    for line in table_lines(("#", "Score", "Name", origin, "What it is"), rows, terminal_width()):
        print(line)
    for line in summary_lines(question.kind, response.report):
        print(f"  {styled('2', line)}")


def terminal_width() -> int:
    """Returns the width to print in: the terminal's, between 60 and 140 columns, or 100 without a terminal."""
    return max(60, min(shutil.get_terminal_size((100, 24)).columns, 140))


def as_row(kind: str, item: SelectedItem) -> tuple[str, ...]:
    """Makes the cells of one selected item."""
    purpose = describe_tool(item.source) if kind == "tools" else describe_table(item.source)
    return str(item.rank), f"{item.score:.3f} {bar(item.score)}", item.name, item.namespace or "-", purpose


def describe_tool(source: str) -> str:
    """Describes a tool in one line: its description or title, or else its parameters."""
    tool = parse_tools([source]).tools[0]
    parameters = ", ".join(parameter.name for parameter in tool.parameters if parameter.depth == 0)
    return " ".join((tool.description or tool.title or parameters).split())


def describe_table(source: str) -> str:
    """Describes a table in one line: its comment, or else its columns."""
    table = parse_tables(source, dialect="postgres").tables[0]
    return " ".join((table.comment or ", ".join(column.name for column in table.columns)).split())


def summary_lines(kind: str, report: SelectionReport) -> list[str]:
    """Writes how many items were ranked, by which model, and the time of every stage that the server reports."""
    stages = [field.name for field in report.timings.DESCRIPTOR.fields]
    times = " · ".join(f"{stage.removesuffix('_ms')} {getattr(report.timings, stage):.0f}" for stage in stages)
    model = f"{report.model_name} {report.model_version}"
    ranked = f"the first stage kept {report.num_scored} of {report.num_candidates} {kind}; {model} scored these"
    return [ranked, f"time in ms: {times}"]


def table_lines(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Lays out rows in columns, and cuts long cells so that no line is wider than `width` terminal cells."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(display_width(cell) for cell in column) for column in columns]
    widths[2] = min(widths[2], width * 3 // 10)
    widths[3] = min(widths[3], width // 6)
    widths[-1] = min(widths[-1], max(width - 2 * len(widths) - sum(widths[:-1]), 4))
    lines = [
        "  " + "  ".join(fit(cell, cells) for cell, cells in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]
    rule = "  " + "  ".join("─" * cells for cells in widths)
    return [styled("1", lines[0]), styled("2", rule), *lines[1:]]


def bar(score: float) -> str:
    """Draws a score of 0..1 as a bar of up to BAR_CELLS cells, in steps of an eighth of a cell."""
    eighths = round(min(max(score, 0.0), 1.0) * BAR_CELLS * 8)
    partial = " ▏▎▍▌▋▊▉"[eighths % 8]
    return ("█" * (eighths // 8) + partial)[:BAR_CELLS].ljust(BAR_CELLS)


def display_width(text: str) -> int:
    """Counts terminal cells: a wide East Asian character takes two, a combining mark none."""
    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in text)
    return len(text) + wide - sum(unicodedata.combining(sign) > 0 for sign in text)


def fit(text: str, width: int) -> str:
    """Pads text to `width` cells, or cuts it to that width with an ellipsis."""
    if display_width(text) > width:
        while display_width(text) > width - 1:
            text = text[:-1]
        text += "…"
    return text + " " * (width - display_width(text))


def wrap(text: str, width: int) -> list[str]:
    """Breaks text into lines of at most `width` cells, at spaces if possible."""
    lines = [""]
    for word in text.split(" "):
        separator = " " if lines[-1] else ""
        if display_width(lines[-1] + separator + word) <= width:
            lines[-1] += separator + word
            continue
        if lines[-1]:
            lines.append("")
        for sign in word:  # the word is wider than a line, or its script has no spaces
            if display_width(lines[-1] + sign) > width:
                lines.append("")
            lines[-1] += sign
    return lines


def styled(code: str, text: str) -> str:
    """Adds a terminal style if stdout is a terminal and NO_COLOR is not set."""
    wanted = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\033[{code}m{text}\033[0m" if wanted else text


if __name__ == "__main__":
    sys.exit(main())
