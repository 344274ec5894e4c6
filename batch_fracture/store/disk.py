"""The image store: what is there, and the bytes of one image. Local disk; others come through this door.

Disk is listed with `os.scandir`, because a listing that drops or refuses odd names would lose images.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from batch_fracture import schema
from batch_fracture.codes import Code
from batch_fracture.errors import ImageError, SourceError

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


def list_images(
    sources: tuple[str, ...],
    *,
    include: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    leave_out: Path | None = None,
) -> pa.Table:
    """List every object below the sources, once.

    A file is listed under its path, a link under its own; linked folders are entered after real ones, each
    folder once. A folder that cannot be opened is one entry (its path and a slash): nothing is lost unseen.

    Args:
        sources: absolute folders or files, none inside another.
        include: shell patterns on the path below its source (`*` crosses folders); empty for all.
        exclude: likewise; excluded objects are not listed.
        leave_out: a folder that is not entered, such as the results behind a link.

    Returns:
        Table of `schema.LISTING`, sorted by image_uri, one row per object.

    Raises:
        SourceError: a source does not exist, cannot be opened, or two objects have one name in UTF-8.
    """
    entries: dict[bytes, Entry] = {}
    seen = {_identity(leave_out.stat())} if leave_out and leave_out.exists() else set()
    for source in sources:
        for path, entry in _walk(source, seen):
            below = os.path.relpath(path, source)
            if _wanted(path if below == "." else below, include, exclude):
                entries[os.fsencode(path)] = entry
    rows = sorted(entries.values(), key=lambda entry: entry.image_uri)
    for one, other in itertools.pairwise(rows):
        if one.image_uri == other.image_uri:
            raise SourceError(f"two objects are named {one.image_uri!r} in UTF-8; rename one")
    columns = list(zip(*rows, strict=True)) or [()] * len(schema.LISTING)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema.LISTING, strict=True)]
    return pa.table(arrays, schema=schema.LISTING)


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
        raise SourceError(f"source {source!r}: {error.strerror}; name an existing folder or file") from error
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
            with os.scandir(folder) as scan:
                children = sorted(scan, key=lambda child: child.name)
        except OSError as error:
            if folder == source:
                raise SourceError(f"source {source!r}: {error.strerror}") from error
            yield folder + "/", _unlisted(folder + "/", error)
            continue
        for child in children:
            if _is_folder(child):
                (linked if child.is_symlink() else folders).append(child.path)
            else:
                yield child.path, _child_entry(child)


def _is_folder(child: os.DirEntry[str]) -> bool:
    try:
        return child.is_dir()
    except OSError:  # a loop of links, or a target that may not be seen: it becomes an entry of its own
        return False


def _child_entry(child: os.DirEntry[str]) -> Entry:
    try:
        return _entry(child.path, child.stat())
    except OSError as error:
        try:
            return _entry(child.path, child.stat(follow_symlinks=False), code=_code(error))
        except OSError:
            return _unlisted(child.path, error)


def _entry(path: str, status: os.stat_result, code: Code | None = None) -> Entry:
    uri = path
    try:
        path.encode()
    except UnicodeEncodeError:
        uri = os.fsencode(path).decode("utf-8", "backslashreplace")
        code = Code.NAME_UNREADABLE
    modified_at = min(max(status.st_mtime_ns // 1000, _FIRST_US), _LAST_US)
    return Entry(uri, _version(status), status.st_size, modified_at, code)


def _unlisted(path: str, error: OSError) -> Entry:
    """What is there by name only: a folder (with a slash) or file that may not be looked at."""
    return Entry(os.fsencode(path).decode("utf-8", "backslashreplace"), "unlisted", 0, 0, _code(error))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _version(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _wanted(below: str, include: tuple[str, ...], exclude: tuple[str, ...]) -> bool:
    if include and not any(fnmatchcase(below, pattern) for pattern in include):
        return False
    return not any(fnmatchcase(below, pattern) for pattern in exclude)


def _code(error: OSError) -> Code:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        return Code.GONE
    if error.errno in (errno.EACCES, errno.EPERM):
        return Code.ACCESS_DENIED
    return Code.STORE_ERROR


LISTING_MESSAGES = {
    Code.GONE: "the file is not there, or the link points nowhere",
    Code.ACCESS_DENIED: "permission denied",
    Code.STORE_ERROR: "the store could not read it",
    Code.NAME_UNREADABLE: "the name is not valid UTF-8; rename the file",
}


def _image_error(error: OSError) -> ImageError:
    code = _code(error)
    detail = "" if code is not Code.STORE_ERROR else f" ({errno.errorcode.get(error.errno or 0, 'unknown')})"
    return ImageError(code, LISTING_MESSAGES[code] + detail)
