"""Audits the shipped distributions for known vulnerabilities, and says so if it could not.

    python deploy/audit.py PIP_AUDIT REQUIREMENTS

Exit code 1 if there are findings. If the vulnerability data cannot be reached, nothing was audited: the script prints
that and exits with 0, since it says nothing about the code. pip-audit itself would report no vulnerabilities.
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
    """Runs pip-audit on pinned requirements and prints its findings."""
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
        return print_report(json.loads(report.read_text(encoding="utf-8"))["dependencies"])


def print_report(dependencies: Sequence[dict[str, Any]]) -> int:
    """Prints the findings of a report and returns the exit code."""
    audited = [one for one in dependencies if "skip_reason" not in one]
    skipped_names = [one["name"] for one in dependencies if "skip_reason" in one]
    if not audited:
        return skipped("the vulnerability data is unreachable, or has none of these distributions")
    for one in audited:
        for found in one["vulns"]:
            fixed = ", ".join(found.get("fix_versions", ())) or "no version yet"
            print(f"{one['name']} {one['version']}: {found['id']}, fixed in {fixed}")
    if skipped_names:
        print(f"NOT AUDITED, no data: {', '.join(skipped_names)}")
    num_found = sum(len(one["vulns"]) for one in audited)
    print(f"audit: {len(audited)} of {len(dependencies)} distributions, {num_found} known vulnerabilities")
    return 1 if num_found else 0


def skipped(reason: str) -> int:
    """Prints that nothing was audited, and returns exit code 0."""
    print(f"AUDIT SKIPPED, nothing was checked: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
