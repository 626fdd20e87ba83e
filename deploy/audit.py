"""Audits what is shipped for known vulnerabilities, and says plainly when it could not.

    python deploy/audit.py PIP_AUDIT REQUIREMENTS

Exit code 1 where there are findings. A run that reached no data audited nothing: that is said, and is no failure, since
it tells nothing of the code. pip-audit itself calls such a run free of vulnerabilities.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_SECONDS = 300


def main(arguments: Sequence[str]) -> int:
    """Runs pip-audit on pinned requirements and prints what it found."""
    tool, requirements = arguments
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "audit.json"
        options = ["--requirement", requirements, "--no-deps", "--disable-pip", "--progress-spinner", "off"]
        command = [tool, *options, "--timeout", "10", "--format", "json", "--output", str(report)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            return skipped(str(error))
        if not report.is_file():
            return skipped((done.stderr.strip().splitlines() or ["no report was written"])[-1])
        return tell(json.loads(report.read_text(encoding="utf-8"))["dependencies"])


def tell(dependencies: Sequence[dict[str, Any]]) -> int:
    """Prints the outcome of a report and gives the exit code."""
    audited = [one for one in dependencies if "skip_reason" not in one]
    passed_over = [one["name"] for one in dependencies if "skip_reason" in one]
    if not audited:
        return skipped("the data of vulnerabilities is out of reach, or knows none of these distributions")
    for one in audited:
        for found in one["vulns"]:
            mended = ", ".join(found.get("fix_versions", ())) or "no version yet"
            print(f"{one['name']} {one['version']}: {found['id']}, mended in {mended}")
    if passed_over:
        print(f"NOT AUDITED, for want of data: {', '.join(passed_over)}")
    num_found = sum(len(one["vulns"]) for one in audited)
    print(f"audit: {len(audited)} of {len(dependencies)} distributions, {num_found} known vulnerabilities")
    return 1 if num_found else 0


def skipped(reason: str) -> int:
    """Says that nothing was audited."""
    print(f"AUDIT SKIPPED, nothing was checked: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
