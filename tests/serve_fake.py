"""Runs the real `shortlist` command with the fake Router in place of the real one: a process of its own, no torch."""

import sys

import server_fakes

sys.modules["shortlist.router.pipeline"] = server_fakes

from shortlist.server.cli.main import main  # noqa: E402 - the stand-in comes first

if __name__ == "__main__":
    sys.exit(main())
