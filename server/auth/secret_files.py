"""Reads files that hold secrets, and warns when every user of the machine may read or change them."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

from shortlist.schemas.errors import InvalidConfiguration

__all__ = ["Stamp", "read_bytes", "stamp_of", "warn_if_exposed"]

_log = logging.getLogger(__name__)

# Inode, size and time of the last change: shows a change without reading the file. None if there is no file.
Stamp = tuple[int, int, int] | None


def read_bytes(path: Path) -> bytes:
    """Reads a whole file.

    Raises:
        InvalidConfiguration: it cannot be read; the text names it.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidConfiguration(f"{path}: cannot be read: {error.strerror}") from error


def stamp_of(path: Path) -> Stamp:
    """Returns the state of a file: inode, size in bytes and time of the last change in nanoseconds."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def warn_if_exposed(path: Path) -> None:
    """Logs a warning if users other than the owner and the group may read or change a file."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        _log.warning("every user of this machine may read or change %s; restrict it with: chmod o= %s", path, path)
