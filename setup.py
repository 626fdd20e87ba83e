"""Finds the packages, so that no folder can be missing from a wheel; all else is in pyproject.toml.

Each folder of the top level with an `__init__.py` is installed as a package below `shortlist`, and `proto/shortlist/v1`
as `shortlist.v1`. `router/models` is a distribution of its own.
"""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
FOLDERS = sorted(path.parent.name for path in HERE.glob("*/__init__.py") if path.parent.name != "shortlist")
PACKAGES = {f"shortlist.{folder}": folder for folder in FOLDERS} | {"shortlist.v1": "proto/shortlist/v1"}

setup(
    packages=[
        "shortlist",
        *PACKAGES,
        *(
            f"{package}.{name}"
            for package, folder in PACKAGES.items()
            for name in find_packages(str(HERE / folder), exclude=["models", "models.*"])
        ),
    ],
    package_dir={"shortlist": "shortlist", **PACKAGES},
)
