"""Runs a coverage-guided fuzzer on one target of `targets.py` for some seconds.

    python tests/fuzz/run.py TARGET --seconds 120 --out build/fuzz

Needs atheris, which `make fuzz` installs under build/. Failing inputs are written to OUT/TARGET/found. Inputs that
reach new code are kept in OUT/TARGET/corpus, and the next run starts from them. After fixing a bug, add its input to
tests/fixtures/fuzz/TARGET.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import atheris

HERE = Path(__file__).parent
# The length of an input: long enough for nesting and repetition, short enough for many runs per second.
_MAX_BYTES = 4096
# If such a short text took longer, one caller could block a thread.
_MAX_SECONDS = 10
_MAX_MIB = 3000


def main() -> None:
    """Fuzzes until the time is up; exits with a status other than 0 if an input fails."""
    options = parse()
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    with atheris.instrument_imports(include=["shortlist", "json", "referencing"]):
        from targets import TARGETS
    target = TARGETS[options.target]
    corpus, found = (options.out / options.target / name for name in ("corpus", "found"))
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    flags = [
        f"-max_total_time={options.seconds}",
        f"-max_len={_MAX_BYTES}",
        f"-timeout={_MAX_SECONDS}",
        f"-rss_limit_mb={_MAX_MIB}",
        f"-artifact_prefix={found}/",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    if target.words:
        words = options.out / options.target / "words"
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words), encoding="ascii")
        flags.append(f"-dict={words}")
    atheris.Setup([sys.argv[0], *flags, str(corpus)], target.run)
    atheris.Fuzz()


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", help="one of TARGETS in targets.py")
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"))
    return parser.parse_args()


def _escaped(word: str) -> str:
    return "".join(char if char.isalnum() or char == " " else f"\\x{ord(char):02X}" for char in word)


if __name__ == "__main__":
    main()
