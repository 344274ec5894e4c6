"""Listing of a prefix in S3, many sub-prefixes at once.

A prefix of more than a page is split into its folders while there is not enough to do in parallel; what is
not split is listed to its depth. Both are complete whatever the order in which a server sorts its keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import pyarrow as pa

from batch_fracture.codes import Code
from batch_fracture.errors import SourceError
from batch_fracture.store.bucket import Access
from batch_fracture.store.columns import Listing, Patterns, objects_of
from batch_fracture.store.failures import error_code, source_error
from batch_fracture.store.s3_pages import Page, Pages, decoded

AT_ONCE = 16
"""Requests in flight."""
ENOUGH_TASKS = 64
"""Prefixes that wait or are being listed; beyond that none is split."""


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
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="listing") as pool:
        running = {pool.submit(_list, pages, prefix, prefix, rows, may_split=True)}
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for task in done:
                    for folder in task.result():
                        may_split = len(running) < ENOUGH_TASKS
                        running.add(pool.submit(_list, pages, folder, prefix, rows, may_split=may_split))
        finally:
            for task in running:
                task.cancel()


def _list(pages: Pages, above: str, prefix: str, rows: Rows, *, may_split: bool) -> list[str]:
    """Take all that is below a prefix; or its own objects, and return its folders for others to list."""
    whole = pages.below(above)
    first = next(whole)
    if first.token is not None and may_split and _num_folders(first, above) < AT_ONCE:
        folders = _split(pages, above, prefix, rows)
        if folders is not None:
            return folders
    rows.take(first, prefix)
    rows.take_all(whole, prefix)
    return []


def _num_folders(page: Page, above: str) -> int:
    """Folders that a page of keys reaches into; of many, each holds too little to be asked for by itself."""
    below = (key[len(above) :] for key in map(decoded, page.keys) if isinstance(key, str))
    return len({key.partition("/")[0] for key in below if "/" in key})


def _split(pages: Pages, above: str, prefix: str, rows: Rows) -> list[str] | None:
    """The folders just below a prefix, whose own objects are taken; None when one page does not hold them."""
    level = next(pages.below(above, one_level=True))
    folders = [name for name in map(decoded, level.prefixes) if isinstance(name, str)]
    if level.token is not None or len(folders) < len(level.prefixes):
        return None
    rows.take(level, prefix)
    return folders
