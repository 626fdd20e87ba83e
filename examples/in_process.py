"""Selects tools in this process, without a server or a network. Needs ``pip install '.[serve]' ./router/models``."""

from __future__ import annotations

from pathlib import Path

from shortlist import Router

TOOLS = Path(__file__).resolve().parent / "tools"


def main() -> None:
    """Loads the built-in model, ranks the tools in examples/tools for one query, and prints the best five."""
    paths = sorted(TOOLS.glob("*.json"))
    router = Router.load()
    selection = router.select_tools(
        "Roll the checkout service back to the version before, the release is broken",
        [path.read_text(encoding="utf-8") for path in paths],
        namespaces=[path.stem for path in paths],
        top_n=5,
    )
    for item in selection.items:
        print(f"{item.rank}. {item.score:.3f}  {item.namespace}/{item.name}")


if __name__ == "__main__":
    main()
