"""Results below a prefix of a bucket: a file is whole or not there, and `put_once` is a conditional put."""

from __future__ import annotations

import contextlib
import time
from typing import Any, Literal

import obstore
import pyarrow.fs as pafs
from obstore.exceptions import AlreadyExistsError, BaseError

from batch_fracture.errors import WriteError
from batch_fracture.results.folder import Stored
from batch_fracture.store import bucket
from batch_fracture.store.failures import results_error, results_reason

PUT_TRIES = 3
PUT_AGAIN_AFTER_S = 0.5


class BucketFolder:
    """See `Folder`; each method keeps its promises."""

    def __init__(self, uri: str, access: bucket.Access) -> None:
        self.uri = uri.rstrip("/")
        self._scheme, self._bucket, prefix = bucket.split(self.uri)
        self._prefix = f"{prefix}/" if prefix else ""
        self._store = bucket.open_bucket(self._scheme, self._bucket, access)

    def put_once(self, name: str, content: bytes) -> bool:
        """See `Folder`. A put whose answer was lost is recognised by its content."""
        try:
            self._put(name, content, mode="create")
        except AlreadyExistsError:
            return self.get(name) == content
        return True

    def put(self, name: str, content: bytes) -> None:
        """See `Folder`."""
        self._put(name, content, mode="overwrite")

    def _put(self, name: str, content: bytes, *, mode: Literal["create", "overwrite"]) -> None:
        for left in reversed(range(PUT_TRIES)):
            try:
                obstore.put(self._store, self._prefix + name, content, mode=mode, use_multipart=False)
            except AlreadyExistsError:
                raise
            except (BaseError, OSError) as error:
                if not left:
                    raise WriteError(
                        f"cannot write {self.uri}/{name}: {results_reason(error)}; mend that, then run again"
                    ) from error
                time.sleep(PUT_AGAIN_AFTER_S)
            else:
                return

    def get(self, name: str) -> bytes | None:
        """See `Folder`."""
        try:
            return bytes(obstore.get(self._store, self._prefix + name).bytes())
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise results_error(f"{self.uri}/{name}", error) from error

    def files(self, below: str) -> list[Stored]:
        """See `Folder`."""
        try:
            found = [
                Stored(
                    name=str(entry["path"]).removeprefix(self._prefix),
                    size_bytes=entry["size"],
                    modified_at=entry["last_modified"].timestamp(),
                )
                for chunk in obstore.list(self._store, prefix=self._prefix + below)
                for entry in chunk
            ]
        except (BaseError, OSError) as error:
            raise results_error(f"{self.uri}/{below}".rstrip("/"), error) from error
        return sorted(found, key=lambda file: file.name)

    def changed_at(self, below: str) -> float:
        """See `Folder`."""
        return max((file.modified_at for file in self.files(f"{below}/")), default=0.0)

    def children(self, below: str = "") -> set[str]:
        """See `Folder`."""
        try:
            found = obstore.list_with_delimiter(self._store, prefix=self._prefix + below)
        except (BaseError, OSError) as error:
            raise results_error(f"{self.uri}/{below}".rstrip("/"), error) from error
        paths = [*found["common_prefixes"], *(entry["path"] for entry in found["objects"])]
        return {path.rstrip("/").rpartition("/")[2] for path in paths}

    def delete(self, name: str) -> None:
        """See `Folder`."""
        self._delete([name])

    def clear(self, below: str) -> None:
        """See `Folder`."""
        if names := [file.name for file in self.files(below)]:
            self._delete(names)

    def _delete(self, names: list[str]) -> None:
        paths = [self._prefix + name for name in names]
        try:
            try:
                obstore.delete(self._store, paths[0] if len(paths) == 1 else paths)
            except FileNotFoundError:  # S3 takes a missing name for removed; others stop at it
                for path in paths:
                    with contextlib.suppress(FileNotFoundError):
                        obstore.delete(self._store, path)
        except (BaseError, OSError) as error:
            raise WriteError(f"cannot remove {self.uri}/{names[0]}: {results_reason(error)}") from error

    def dataset_files(self, names: list[str]) -> tuple[list[str], pafs.FileSystem | None]:
        """See `Folder`."""
        from obstore.fsspec import FsspecStore  # noqa: PLC0415 - only readers of the table need it

        store: Any = self._store
        system = FsspecStore(  # type: ignore[call-overload]
            self._scheme,
            config=store.config,
            client_options=store.client_options,
            retry_config=store.retry_config,
            credential_provider=getattr(store, "credential_provider", None),
        )
        paths = [f"{self._bucket}/{self._prefix}{name}" for name in names]
        return paths, pafs.PyFileSystem(pafs.FSSpecHandler(system))
