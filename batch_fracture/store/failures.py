"""What went wrong at a store, in our own words: as a code of one image, or as one line about a SOURCE.

Texts of exceptions name keys and hold the server's answer, so none of them reaches a row; of those texts only
the code and the status of the answer are taken.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

from batch_fracture.codes import Code
from batch_fracture.errors import ImageError, ResultsError, SourceError, StoreError

GONE = "the object is not there any more"
CHANGED = "the object changed after it was listed; a later run reads it anew"
DENIED = "access denied"
ARCHIVED = "the object is in an archive storage class; restore it first"
REFUSED = "the store could not be read, after several tries"

LISTING_MESSAGES = {
    Code.GONE: "it is not there, or the link points nowhere",
    Code.ACCESS_DENIED: "permission denied",
    Code.STORE_ERROR: "the store could not read it",
    Code.NAME_UNREADABLE: "the name is not valid UTF-8; rename it",
    Code.NOT_AN_IMAGE: "a folder marker",
}
"""Of each code that a listing can give."""

_ANSWERS = {
    "NoSuchKey": ImageError(Code.GONE, GONE),
    "404": ImageError(Code.GONE, GONE),
    "412": ImageError(Code.CHANGED, CHANGED),
    "PreconditionFailed": ImageError(Code.CHANGED, CHANGED),
    "InvalidObjectState": ImageError(Code.ACCESS_DENIED, ARCHIVED),
}


def image_error(error: Exception) -> ImageError:
    """The fate of an image whose request ended with an exception of obstore, boto3 or of the network."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - only buckets need it
    from obstore import exceptions as of_obstore  # noqa: PLC0415 - likewise

    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        known = _ANSWERS.get(error_code(error)) or _ANSWERS.get(str(status))
        denied = status in (401, 403)
    else:
        if isinstance(error, FileNotFoundError):
            return ImageError(Code.GONE, GONE)
        if isinstance(error, of_obstore.PreconditionError):
            return ImageError(Code.CHANGED, CHANGED)
        denied = isinstance(error, of_obstore.PermissionDeniedError | of_obstore.UnauthenticatedError)
        known = _ANSWERS["InvalidObjectState"] if "<Code>InvalidObjectState<" in str(error) else None
    if known is not None:
        return ImageError(known.code, known.message)
    return ImageError(Code.ACCESS_DENIED, DENIED) if denied else ImageError(Code.STORE_ERROR, REFUSED)


def error_code(error: Exception) -> str:
    """The code of an S3 error answer (`NoSuchBucket`); empty for everything else."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))


def source_error(source: str, error: Exception) -> SourceError | StoreError:
    """One line about a SOURCE that could not be listed or read: what happened, and what helps."""
    said = _words(error, "s3:ListBucket and s3:GetObject") or (
        f"the store could not be read ({type(error).__name__}); check endpoint, credentials and network"
    )
    return (StoreError if passes(error) else SourceError)(f"source {source!r}: {said}")


def results_error(location: str, error: Exception) -> ResultsError | StoreError:
    """One line about results that could not be read: what happened, and what helps."""
    kind = StoreError if passes(error) else ResultsError
    return kind(f"results {location}: {results_reason(error)}")


def results_reason(error: Exception) -> str:
    """Why results could not be read or written, in one line.

    Args:
        error: of obstore, boto3, delta-rs or a disk; one that is none of a store says it in its own words.
    """
    said = _words(error, "s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject")
    return said or next(iter(_COLOURS.sub("", str(error)).strip().splitlines()), type(error).__name__)[:300]


def passes(error: Exception) -> bool:
    """Whether it may pass by itself: the store is out of reach, overloaded, or has an error of its own."""
    code, status = _answer(error)
    if code in _IN_WORDS:
        return code in _PASSING
    if status:
        return status >= 500 or status in _TRY_AGAIN
    return _is_unreached(error) or _errno(error) in _PASSING_ERRNOS


def is_denied(error: Exception) -> bool:
    """Whether this user may not do it; keys that are wrong may do nothing, and are no such answer."""
    code, status = _answer(error)
    if code or status:
        return code in _NO_ACCESS if code else status in (401, 403)
    return _errno(error) in (errno.EACCES, errno.EPERM)


def _words(error: Exception, needed: str) -> str | None:
    """What happened, and what helps; None when that is not known.

    Args:
        error: any.
        needed: permissions of S3, as AWS calls them.
    """
    code, status = _answer(error)
    if said := _IN_WORDS.get(code) or _IN_WORDS.get(str(status)):
        return said.format(needed=needed)
    if code or status:
        return f"the store answered {code or status}" + "; run again later" * passes(error)
    if _is_unreached(error):
        return "the store cannot be reached; check --s3-endpoint and the network, or run again later"
    if (number := _errno(error)) is not None:
        return f"{os.strerror(number)}{_OS_REMEDIES.get(number, '; run again later' * passes(error))}"
    return next((said.format(needed=needed) for kinds, said in _kinds() if isinstance(error, kinds)), None)


def _kinds() -> Iterator[tuple[tuple[type[Exception], ...], str]]:
    """Exceptions that tell enough by their type."""
    from botocore import exceptions as of_boto3  # noqa: PLC0415 - as above
    from obstore import exceptions as of_obstore  # noqa: PLC0415 - likewise

    yield (of_boto3.NoCredentialsError, of_boto3.PartialCredentialsError), _NO_KEYS
    yield (of_boto3.CredentialRetrievalError, of_boto3.SSOError), _NOT_RENEWED
    yield (of_obstore.PermissionDeniedError, of_obstore.UnauthenticatedError), _DENIED
    yield (FileNotFoundError,), _IN_WORDS["404"]
    yield (of_obstore.BaseError,), "the store failed; check endpoint, credentials and network"


def _answer(error: Exception) -> tuple[str, int]:
    """Code and HTTP status of the server's answer, out of the text where that is all; '' and 0 for none."""
    if response := getattr(error, "response", None):
        return error_code(error), int(response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    text = _COLOURS.sub("", str(error))
    if "redirect without LOCATION" in text:
        return "", 301
    code, status = _CODE.search(text), _STATUS.search(text)
    return code[1] if code else "", int(status[1]) if status else 0


def _is_unreached(error: Exception) -> bool:
    from botocore import exceptions as of_boto3  # noqa: PLC0415 - as above

    if isinstance(error, of_boto3.HTTPClientError | of_boto3.ConnectionError):
        return True
    return "HTTP error" in str(error)  # of obstore, and of delta-rs


def _errno(error: Exception) -> int | None:
    """Of the operating system; delta-rs says it in words."""
    said = _OS_ERROR.search(str(error))
    return int(said[1]) if said else getattr(error, "errno", None)


_COLOURS = re.compile(r"\x1b\[\d*m")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code\W+(\d{3})\b")
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_PASSING_ERRNOS = frozenset(
    {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENOTCONN}
)
"""Of a disk across a network."""
_OS_REMEDIES = {
    errno.ENOENT: "; name an existing folder or file",
    errno.ENOTDIR: "; name a folder",
    errno.EACCES: "; mend its permissions, or name another place",
    errno.EPERM: "; mend its permissions, or name another place",
}
_NO_ACCESS = frozenset({"AccessDenied", "AllAccessDisabled", "401", "403"})
_TRY_AGAIN = (408, 429)
"""Request Timeout and Too Many Requests: of all 4xx the two that pass."""
_NO_KEYS = "no credentials were found; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_NOT_RENEWED = "the credentials could not be renewed; check AWS_PROFILE, or log in again"
_WRONG_KEYS = (
    "the credentials are not valid; check AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)
_WRONG_REGION = "the bucket is in another region; set AWS_REGION to it"
_DENIED = "access denied; {needed} are needed"
_OVERLOADED = "the store is overloaded; run again later"
_PASSING = frozenset({"SlowDown", "ServiceUnavailable", "RequestTimeout", "InternalError", "500", "503"})
_IN_WORDS = {
    "NoSuchBucket": "there is no such bucket; check its name and --s3-endpoint",
    "404": "there is no such object or bucket; check its name and --s3-endpoint",
    "NoSuchKey": "there is no such object; check its name",
    "AccessDenied": _DENIED,
    "401": _DENIED,
    "403": _DENIED,
    "AllAccessDisabled": "access denied; the bucket is closed",
    "InvalidObjectState": ARCHIVED,
    "InvalidAccessKeyId": _WRONG_KEYS,
    "SignatureDoesNotMatch": _WRONG_KEYS,
    "InvalidToken": _WRONG_KEYS,
    "ExpiredToken": "the credentials have expired; renew them",
    "RequestTimeTooSkewed": "this machine's clock is wrong; set it",
    "PermanentRedirect": _WRONG_REGION,
    "301": _WRONG_REGION,
    "AuthorizationHeaderMalformed": _WRONG_REGION,
    "IllegalLocationConstraintException": _WRONG_REGION,
    "SlowDown": "the store asks for fewer requests; run again later",
    "ServiceUnavailable": _OVERLOADED,
    "503": _OVERLOADED,
    "RequestTimeout": "the store waited too long for this machine; check the network, or run again later",
    "InternalError": "the store has an error of its own; run again later",
    "500": "the store has an error of its own; run again later",
}
