"""The one exception tree, and the exit code that each branch ends the command with.

BatchFractureError          1  something unexpected; the message says what and where
├── UsageError              2  the command line, a configuration, a folder or a bundle is not right
│   ├── ConfigError            a flag or a key of the TOML file
│   ├── SourceError            a SOURCE that is not there, may not be listed, or means nothing
│   ├── ResultsError           a results location that is none, or that may not be read or written
│   └── BundleError            a model bundle that is missing, incomplete or altered
├── StoreError              1  a store cannot be reached or answers with errors: try again later
├── WriteError              1  a file of the results could not be written, for want of space or access
├── WorkHeldError           4  another live run holds this work
├── BooksError              1  the rows do not balance with the manifest: nothing was committed
├── StoreOutageError        1  fetches failed one after another for one cause
└── CommitError             1  the table did not take the commit
ImageError                  -  one image's fate; becomes its row and never leaves the pipeline
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch_fracture.codes import Code

if TYPE_CHECKING:
    from batch_fracture.decode.header import ImageHeader


class BatchFractureError(Exception):
    """Base of every error that the command reports in one line."""

    exit_code = 1


class UsageError(BatchFractureError):
    """The caller can put it right: nothing was done."""

    exit_code = 2


class ConfigError(UsageError):
    """A flag or a key of the configuration file has no meaning or no valid value."""


class SourceError(UsageError):
    """A SOURCE does not exist, may not be listed, or is not what its name says."""


class ResultsError(UsageError):
    """The results location is not one, or may not be read or written."""


class BundleError(UsageError):
    """A model bundle is missing, incomplete or altered."""


class StoreError(BatchFractureError):
    """A store of sources or results cannot be reached, or answers with errors; that passes."""


class WriteError(BatchFractureError):
    """A file of the results could not be written; what was complete before stands."""


class WorkHeldError(BatchFractureError):
    """Another live run is doing this work."""

    exit_code = 4


class BooksError(BatchFractureError):
    """Rows and manifest do not balance; nothing was committed."""


class StoreOutageError(BatchFractureError):
    """Fetches failed one after another for one cause."""


class CommitError(BatchFractureError):
    """The results table did not take the commit."""


class ImageError(Exception):
    """Why one image could not be read: becomes a row with `code`, never a traceback.

    Args:
        code: the entry of the enum that the row carries.
        message: our own words; never bytes, text or header values of the file.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.header: ImageHeader | None = None
        """What the image says of itself, when that much could be read."""
