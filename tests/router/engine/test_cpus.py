"""The number of threads depends on the CPUs that the process may use, not on those of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from shortlist.router.engine import cpus


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 64 cores."""
    monkeypatch.setattr(cpus, "_affinity", lambda: 64)
    return tmp_path / "cgroup"


def group(root: Path, path: str, **files: str) -> None:
    (root / path).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / path / name.replace("__", ".")).write_text(text + "\n")


def usable(root: Path, lines: str) -> int:
    own = root.parent / "own"
    own.write_text(lines)
    return cpus.usable_cpus(own, root)


@pytest.mark.parametrize(
    ("limit", "number"),
    [("200000 100000", 2), ("150000 100000", 1), ("50000 100000", 1), ("max 100000", 64), ("9000000 100000", 64)],
)
def test_a_container_is_limited_to_its_quota(root: Path, limit: str, number: int) -> None:
    group(root, ".", cpu__max=limit)
    assert usable(root, "0::/\n") == number


def test_a_group_is_limited_by_the_quotas_of_its_parents(root: Path) -> None:
    group(root, "pods/one", cpu__max="max 100000")
    group(root, "pods", cpu__max="300000 100000")
    assert usable(root, "0::/pods/one\n") == 3


def test_a_quota_of_control_groups_version_1_counts_too(root: Path) -> None:
    group(root, "cpu,cpuacct/docker", cpu__cfs_quota_us="400000", cpu__cfs_period_us="100000")
    assert usable(root, "7:memory:/docker\n4:cpu,cpuacct:/docker\n") == 4


def test_version_1_without_a_limit_allows_all(root: Path) -> None:
    group(root, "cpu,cpuacct", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert usable(root, "4:cpu,cpuacct:/\n") == 64


@pytest.mark.parametrize("text", ["", "nonsense", "0 0", "max", "5 x"])
def test_an_unreadable_quota_limits_nothing(root: Path, text: str) -> None:
    group(root, ".", cpu__max=text)
    assert usable(root, "0::/\n") == 64


def test_an_unexpected_line_limits_nothing(root: Path) -> None:
    assert usable(root, "no colons\n\n1:cpu\n") == 64


def test_without_control_groups_all_cores_count(root: Path) -> None:
    assert cpus.usable_cpus(root / "absent", root) == 64


def test_this_process_may_use_at_least_one_cpu() -> None:
    assert cpus.usable_cpus() >= 1
