"""Files that are whole or absent: written beside their place, synced, then renamed into it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def write_whole(path: Path, content: str | bytes, mode: int = 0o666) -> None:
    """Replace `path` so that no reader and no crash ever sees half of it. Of `mode` the umask takes its part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_directory(path.parent)


def move_new(source: Path, path: Path) -> None:
    """Rename a synced file, to a name that nothing has yet. Raises FileExistsError, and then both stay as they are.

    Stopped in the middle it has both names. A file system without hard links (Windows shares) is asked first instead,
    and of two at once the later one wins.
    """
    try:
        os.link(source, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        source.rename(path)
        return
    source.unlink()


def sync_directory(directory: Path) -> None:
    """Make renames inside `directory` survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
