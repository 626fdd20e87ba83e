"""A first selection loads only what it needs: each of these libraries would delay it by a tenth of a second or more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from own_folders import write_whole

SLOW = ("torch._dynamo", "sympy", "sqlglot", "transformers", "grpc", "matplotlib")
SCRIPT = """
import json, sys
from shortlist import Router
router = Router.load(sys.argv[1], device="cpu")
tools = ['{"name": "send_email", "description": "Send an email", "parameters": {"type": "object"}}']
assert router.select_tools("write to Ada", tools).items[0].name == "send_email"
print(json.dumps([name for name in sys.modules]))
"""


def test_selecting_tools_loads_no_compiler_and_no_sql(tmp_path: Path) -> None:
    write_whole(tmp_path / "model")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "model")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert sorted(set(SLOW) & set(json.loads(done.stdout))) == []
