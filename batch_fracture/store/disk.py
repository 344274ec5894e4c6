"""Local disk: what is there, and the bytes of one image.

Disk is listed with `os.scandir`, because a listing that drops or refuses odd names would lose images.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from batch_fracture.codes import Code
from batch_fracture.errors import ImageError
from batch_fracture.store.columns import UNLISTED, Buffer, Listing, Patterns
from batch_fracture.store.failures import LISTING_MESSAGES, source_error

_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999, which is what analysts' tools can hold; a version keeps the exact time."""


class Entry(NamedTuple):
    """One listed object, in the column order of `schema.LISTING`."""

    image_uri: str
    """Absolute path, not percent-encoded."""
    image_version: str
    size_bytes: int
    modified_at: int
    """Microseconds since 1970 UTC."""
    listing_code: str | None = None


def list_disk(sources: Sequence[str], listing: Listing, patterns: Patterns, leave_out: str | None) -> None:
    """List every object below folders and files.

    A file is listed under its path, a link under its own; linked folders are entered after real ones, each
    folder once. A folder that cannot be opened is one entry (its path and a slash): nothing is lost unseen.

    Args:
        sources: absolute folders or files.
        listing: takes the rows.
        patterns: which objects are listed; a source that is a file is matched by its whole path.
        leave_out: a folder that is not entered, such as the results behind a link.

    Raises:
        SourceError: a source does not exist or may not be opened.
        StoreError: the disk failed.
    """
    seen = {_identity(Path(leave_out).stat())} if leave_out and Path(leave_out).exists() else set()
    with Buffer(listing) as rows:
        for source in sources:
            for path, entry in _walk(source, seen):
                below = os.path.relpath(path, source) if patterns else path
                if not patterns or patterns.keep(path if below == "." else below):
                    rows.add(_named(path, entry, listing))


def read_bytes(image_uri: str, image_version: str) -> bytes:
    """The whole content of an image, if it still is the version that was listed.

    Raises:
        ImageError: `GONE`, `CHANGED`, `ACCESS_DENIED`, `STORE_ERROR`; `NOT_AN_IMAGE` for a device or pipe.
    """
    try:
        handle = os.open(image_uri, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not block
        try:
            content = _read_version(handle, image_version)
        finally:
            os.close(handle)
    except OSError as error:
        raise _image_error(error) from error
    if content is None:
        raise ImageError(Code.CHANGED, "the file changed after it was listed; a later run reads it anew")
    return content


def _read_version(handle: int, image_version: str) -> bytes | None:
    """The content, or None when it is not, or while it was read ceased to be, the listed version."""
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(Code.NOT_AN_IMAGE, "not a regular file")
    if _version(status) != image_version:
        return None
    with open(handle, "rb", closefd=False) as file:
        content = file.read()
    unchanged = len(content) == status.st_size and _version(os.fstat(handle)) == image_version
    return content if unchanged else None


def _walk(source: str, seen: set[tuple[int, int]]) -> Iterator[tuple[str, Entry]]:
    """Depth-first, folders behind links last. `seen`: (device, inode) of the folders that are done."""
    try:
        top = Path(source).stat()
    except OSError as error:
        raise source_error(source, error) from error
    if not stat.S_ISDIR(top.st_mode):
        yield source, _entry(source, top)
        return
    folders, linked = [source], list[str]()
    while folders or linked:
        folder = folders.pop() if folders else linked.pop(0)
        try:
            status = Path(folder).stat()
            if _identity(status) in seen:
                continue
            seen.add(_identity(status))
            inner: list[os.DirEntry[str]] = []
            with os.scandir(folder) as scan:
                for child in scan:  # not sorted: a folder may hold a million files
                    if _is_folder(child):
                        inner.append(child)
                    else:
                        yield child.path, _child_entry(child)
        except OSError as error:
            if folder == source:
                raise source_error(source, error) from error
            yield folder + "/", _unlisted(folder + "/", error)
            continue
        for child in sorted(inner, key=lambda child: child.name):
            (linked if child.is_symlink() else folders).append(child.path)


def _is_folder(child: os.DirEntry[str]) -> bool:
    try:
        return child.is_dir()
    except OSError:  # a loop of links, or a target that may not be seen: it becomes an entry of its own
        return False


def entry_of(path: str) -> Entry:
    """One path as it is listed; what is not there, or may not be seen, has a code."""
    try:
        return _entry(path, Path(path).stat())
    except OSError as error:
        return _unlisted(path, error)
    except ValueError:  # a NUL in the path: nothing can be there
        return Entry(path, UNLISTED, 0, 0, Code.GONE)


def _child_entry(child: os.DirEntry[str]) -> Entry:
    try:
        return _entry(child.path, child.stat())
    except OSError as error:
        try:
            return _entry(child.path, child.stat(follow_symlinks=False), code=_code(error))
        except OSError:
            return _unlisted(child.path, error)


def _entry(path: str, status: os.stat_result, code: Code | None = None) -> Entry:
    modified_at = min(max(status.st_mtime_ns // 1000, _FIRST_US), _LAST_US)
    return Entry(path, _version(status), status.st_size, modified_at, code)


def _unlisted(path: str, error: OSError) -> Entry:
    """What is there by name only: a folder (with a slash) or file that may not be looked at."""
    return Entry(path, UNLISTED, 0, 0, _code(error))


def _named(path: str, entry: Entry, listing: Listing) -> Entry:
    """The entry under a name that is UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = listing.unreadable(os.fsencode(path))
        code = entry.listing_code if entry.image_version == UNLISTED else Code.NAME_UNREADABLE
        return entry._replace(image_uri=shown, listing_code=code)
    return entry


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _version(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _code(error: OSError) -> Code:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        return Code.GONE
    if error.errno in (errno.EACCES, errno.EPERM):
        return Code.ACCESS_DENIED
    return Code.STORE_ERROR


def _image_error(error: OSError) -> ImageError:
    code = _code(error)
    detail = "" if code is not Code.STORE_ERROR else f" ({errno.errorcode.get(error.errno or 0, 'unknown')})"
    return ImageError(code, LISTING_MESSAGES[code] + detail)
