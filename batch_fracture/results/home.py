"""A results location that was checked: one of ours, or still empty."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from batch_fracture import durable
from batch_fracture.errors import ResultsError
from batch_fracture.results.folder import DiskFolder, Folder
from batch_fracture.store import FROM_ENVIRONMENT, Access, bucket
from batch_fracture.store.sources import meant, one_root

_UNFIT = re.compile(r"[\x00-\x1f\x7f\\]|%[0-9A-Fa-f]{2}|/read_date=")
"""What Delta's log decodes, what it takes for a separator, and what readers take for a partition."""
_UNFIT_IN_BUCKET = re.compile(r"(^|/)/|(^|/)\.{1,2}(/|$)|[*?#\[\]]")
"""Of a prefix: empty and dotted segments, which clients fold, and what delta-rs takes for a pattern."""


@dataclass(frozen=True, kw_only=True)
class Home:
    """A results location: `readings/` the table, `runs/` records, `_work/` runs in progress, `links/`."""

    READINGS: ClassVar = "readings"
    RUNS: ClassVar = "runs"
    WORK: ClassVar = "_work"
    LINKS: ClassVar = "links"
    """Real names behind pseudonyms: meant for restricted access, and the only place that holds them."""

    folder: Folder
    access: Access

    @property
    def uri(self) -> str:
        """Absolute path, or URI without a slash at its end."""
        return self.folder.uri

    @property
    def table_uri(self) -> str:
        """The Delta table."""
        return f"{self.uri}/{self.READINGS}"

    @property
    def path(self) -> Path | None:
        """The folder on disk; None in a bucket."""
        return self.folder.path if isinstance(self.folder, DiskFolder) else None

    def restrict_links(self) -> None:
        """On disk only the owner may enter `links/`; who may in a bucket is for its policy to say."""
        if self.path:
            durable.make_folder(self.path)
            (self.path / self.LINKS).mkdir(mode=0o700, exist_ok=True)

    def delta_options(self) -> dict[str, str]:
        """Storage options of delta-rs, with fresh credentials."""
        return {} if self.path else bucket.delta_options(self.uri, self.access)


_OURS = frozenset({Home.READINGS, Home.RUNS, Home.WORK, Home.LINKS})


def find_home(uri: str, *, create: bool = False, access: Access = FROM_ENVIRONMENT) -> Home:
    """Check a results location.

    Args:
        uri: a local folder, or s3://bucket/prefix.
        create: an empty or missing folder is fine, because a run will fill it.
        access: how buckets are reached.

    Raises:
        ResultsError: the location is no results folder, or something else stands there.
    """
    in_bucket = bucket.is_bucket(uri)
    if not in_bucket and "://" in uri:
        raise ResultsError(f"results {uri!r}: name a folder, or s3://BUCKET/PREFIX")
    if likely := meant(uri):
        raise ResultsError(f"results {uri!r}: was {likely!r} meant? Name a folder of that name as ./{uri}")
    path = Path(one_root(str(Path(uri).absolute())))
    if _UNFIT.search(uri if in_bucket else str(path)) or (
        in_bucket and _UNFIT_IN_BUCKET.search(bucket.split(uri)[2])
    ):
        raise ResultsError(
            f"results {uri!r}: a path with a control character, a backslash, %XX or a read_date= folder, or "
            "a prefix with an empty or dotted segment, would be read as another one; name a plainer path"
        )
    folder = _bucket_folder(uri, access) if in_bucket else DiskFolder(path)
    names, has_table = folder.children(), "_delta_log" in folder.children(Home.READINGS)
    if not has_table and (not create or names - _OURS):
        raise ResultsError(
            f"results {uri!r}: "
            + ("not a results folder, and not empty" if names else "there are no results yet")
            + "; name the folder that `batch-fracture run --results` wrote" * (not create)
            + "; name an empty or a new folder" * create
        )
    if create and not in_bucket:
        _refuse_read_only(path, uri)
    return Home(folder=folder, access=access)


def _refuse_read_only(path: Path, uri: str) -> None:
    standing = next(parent for parent in (path, *path.parents) if parent.exists())
    if not os.access(standing, os.W_OK | os.X_OK):
        raise ResultsError(
            f"results {uri!r}: {standing} may not be written; mend that or name another folder"
        )


def _bucket_folder(uri: str, access: Access) -> Folder:
    from batch_fracture.results.bucket_folder import BucketFolder  # noqa: PLC0415 - results on disk need no client

    return BucketFolder(uri, access)
