"""Listing of a prefix in S3, many sub-prefixes at once.

Folders are looked for level by level until there are enough of them; each is then listed to its depth. Keys
of upper levels are taken on the way, and what two requests saw is one row in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import pyarrow as pa

from batch_fracture.codes import Code
from batch_fracture.errors import SourceError
from batch_fracture.store.bucket import Access
from batch_fracture.store.columns import Listing, Patterns, objects_of
from batch_fracture.store.failures import error_code, source_error
from batch_fracture.store.s3_pages import Page, Pages, decoded

AT_ONCE = 16
"""Requests in flight."""
ENOUGH_PREFIXES, MAX_LEVELS = 64, 12
"""Where the search for folders ends."""
MANY_PREFIXES = 3_000
"""More folders than this are not asked one by one: what holds them is listed as a whole."""
_T = TypeVar("_T")


def list_s3(source: str, bucket: str, key: str, access: Access, rows: Rows) -> None:
    """List the keys below `key/` or, where there are none, the object `key` itself.

    Raises:
        SourceError: there is nothing of that name, or the store refuses or is not reached.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - only buckets need it

    pages = Pages(bucket, access, source)
    prefix = key if not key or key.endswith("/") else key + "/"
    try:
        try:
            _in_parallel(pages, prefix, rows)
        except ClientError as error:
            # Some policies allow one prefix and no deeper one: the source alone may still be listed.
            if error_code(error) not in ("AccessDenied", "403"):
                raise
            rows.take_all(pages.below(prefix), prefix)
        if not rows.seen and prefix:
            rows.take_all(_alone(pages, prefix[:-1]), prefix)
    except (BotoCoreError, ClientError) as error:
        raise source_error(source, error) from error
    if not rows.seen and prefix:
        raise SourceError(f"source {source!r}: there is no such prefix and no such object; check its name")


class Rows:
    """Turns pages into rows of a listing.

    Args:
        root: what stands before each key, such as `s3://bucket/`.
        listing: takes the rows.
        patterns: which of them.
    """

    def __init__(self, root: str, listing: Listing, patterns: Patterns) -> None:
        self._root, self._listing, self._patterns = root, listing, patterns
        self.seen = False
        """Whether there was any object, wanted or not."""

    def take_all(self, pages: Iterable[Page], prefix: str) -> None:
        """Take the objects of several pages."""
        for page in pages:
            self.take(page, prefix)

    def take(self, page: Page, prefix: str) -> None:
        """Take the objects of a page; patterns see what follows `prefix`."""
        if not page.keys:
            return
        self.seen = True
        keys = [decoded(key) for key in page.keys]
        odd = [None if isinstance(key, str) else Code.NAME_UNREADABLE.value for key in keys]
        names = [key if isinstance(key, str) else self._listing.unreadable(key) for key in keys]
        batch = objects_of(
            [self._root + name for name in names],
            pa.array(page.etags, pa.string()),
            pa.array(page.sizes, pa.string()).cast(pa.int64()),
            pa.array(page.times, pa.string()),
            odd,
        )
        if self._patterns:
            keep = [self._patterns.keep(name[len(prefix) :] or self._root + name) for name in names]
            batch = batch.filter(pa.array(keep, pa.bool_()))
        self._listing.add(batch)


def _alone(pages: Pages, key: str) -> Iterable[Page]:
    """The object of just this key. HeadObject would do, but a listing is what the user may do for certain."""
    for page in pages.below(key):
        at = [place for place, name in enumerate(page.keys) if decoded(name) == key]
        if at:
            columns = (page.keys, page.etags, page.sizes, page.times)
            keys, etags, sizes, times = ([column[place] for place in at] for column in columns)
            yield Page(keys=keys, etags=etags, sizes=sizes, times=times, prefixes=[], token=None)
            return


def _in_parallel(pages: Pages, prefix: str, rows: Rows) -> None:
    level, whole = [prefix], list[str]()
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="listing") as pool:
        for _ in range(MAX_LEVELS):
            if not level or len(level) + len(whole) >= ENOUGH_PREFIXES:
                break
            found = _each(pool, lambda above: _folders(pages, above, prefix, rows), level)
            whole += [above for above, folders in zip(level, found, strict=True) if folders is None]
            below = [folder for folders in found for folder in folders or ()]
            if len(below) > MANY_PREFIXES:
                break
            level = below
        _each(pool, lambda above: rows.take_all(pages.below(above), prefix), list({*whole, *level}))


def _folders(pages: Pages, above: str, prefix: str, rows: Rows) -> list[str] | None:
    """The folders just below a prefix, whose own objects are taken; None: list it as one."""
    folders: list[str] = []
    for page in pages.below(above, one_level=True):
        names = [decoded(name) for name in page.prefixes]
        readable = [name for name in names if isinstance(name, str)]
        folders += readable
        if len(folders) > MANY_PREFIXES or len(readable) < len(names):
            return None
        rows.take(page, prefix)
    return folders


def _each(pool: ThreadPoolExecutor, work: Callable[[str], _T], prefixes: list[str]) -> list[_T]:
    """The results in order; after the first failure nothing new is begun."""
    tasks = [pool.submit(work, prefix) for prefix in prefixes]
    try:
        return [task.result() for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        wait(tasks)
