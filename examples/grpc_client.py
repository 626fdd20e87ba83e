"""Selects the tables that a question needs, on a running server. Start one first: ``shortlist serve --port 50051``."""

from __future__ import annotations

import sys
from pathlib import Path

from shortlist import Client

SCHEMA = Path(__file__).resolve().parent / "schema.sql"


def main() -> None:
    """Sends examples/schema.sql and a question to the server, and prints the selected CREATE statements for a prompt.

    The server's HOST:PORT is the first argument of the command line.
    """
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"
    with Client(address) as client:
        response = client.select_tables(
            "Which parcels arrived later than promised?",
            SCHEMA.read_text(encoding="utf-8"),
            dialect="postgres",
            top_n=3,
        )
    for item in response.items:
        print(f"-- {item.rank}. {item.name}, score {item.score:.3f}")
        print(item.source, end="\n\n")  # the statements exactly as the script has them, ready for a text-to-SQL prompt


if __name__ == "__main__":
    main()
