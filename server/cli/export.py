"""The `export` command: writes the cross-encoder in formats that other programs load."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from shortlist.server.cli.model import slow_notice

__all__ = ["add_parser", "run"]

# The same as in router/checkpoints/export.py, whose import would load torch.
_FORMS = ("hf", "onnx", "openvino")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `shortlist export`."""
    parser = subparsers.add_parser(
        "export",
        help="write the cross-encoder for other programs: hub format, ONNX or OpenVINO",
        description="Writes the cross-encoder in float32, with its tokenizer, to an empty or new folder.",
    )
    parser.add_argument("out", type=Path, metavar="DIR", help="an empty or new folder")
    parser.add_argument(
        "--to",
        default="hf",
        choices=_FORMS,
        help="hf (default): for transformers and sentence-transformers; onnx, openvino: a graph (extra [export])",
    )
    parser.add_argument(
        "--model", default="built-in", help="`built-in` (the default), its six-layer variant `fast`, or a folder"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exports and lists the files.

    Raises:
        ModelError: the model cannot be loaded, or the format cannot hold it.
        InvalidInput: the folder is not empty, or a package is missing.
    """
    from shortlist.router.checkpoints.export import export
    from shortlist.router.checkpoints.loading import load_model

    with slow_notice(f"writing {args.model} as {args.to} …"):
        files = export(load_model(args.model), args.to, args.out)
    sizes = {str(path): path.stat().st_size for path in files}
    if args.json:
        json.dump({"model": args.model, "format": args.to, "files": sizes}, sys.stdout)
        print()
    else:
        print("\n".join(f"{size / 1e6:>8.1f} MB  {path}" for path, size in sizes.items()))
    return 0
