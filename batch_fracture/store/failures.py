"""What went wrong at a store, in our own words: as a code of one image, or as one line about a SOURCE.

Texts of exceptions name keys and hold the server's answer, so none of them reaches a row.
"""

from __future__ import annotations

from batch_fracture.codes import Code
from batch_fracture.errors import ImageError, SourceError

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


def source_error(source: str, error: Exception) -> SourceError:
    """One line about a SOURCE that could not be listed or read: what happened, and what helps."""
    from botocore import exceptions as of_boto3  # noqa: PLC0415 - as above
    from obstore import exceptions as of_obstore  # noqa: PLC0415 - likewise

    if isinstance(error, of_boto3.ClientError):
        said = _SOURCE_ANSWERS.get(error_code(error), f"the store answered {error_code(error) or 'an error'}")
    elif isinstance(error, of_boto3.NoCredentialsError | of_boto3.PartialCredentialsError):
        said = "no credentials were found; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    elif isinstance(error, of_boto3.CredentialRetrievalError | of_boto3.SSOError):
        said = "the credentials could not be renewed; check AWS_PROFILE, or log in again"
    elif isinstance(error, of_boto3.HTTPClientError | of_boto3.ConnectionError):
        said = "the store cannot be reached; check --s3-endpoint and the network"
    elif isinstance(error, FileNotFoundError):
        said = "there is no such object or bucket; check its name"
    elif isinstance(error, of_obstore.PermissionDeniedError | of_obstore.UnauthenticatedError):
        said = _SOURCE_ANSWERS["AccessDenied"]
    else:
        said = (
            f"the store could not be read ({type(error).__name__}); check endpoint, credentials and network"
        )
    return SourceError(f"source {source!r}: {said}")


_WRONG_KEYS = (
    "the credentials are not valid; check AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)
_WRONG_REGION = "the bucket is in another region; set AWS_REGION to it"
_SOURCE_ANSWERS = {
    "NoSuchBucket": "there is no such bucket; check its name and --s3-endpoint",
    "404": "there is no such object or bucket; check its name and --s3-endpoint",
    "NoSuchKey": "there is no such object; check its name",
    "AccessDenied": "access denied; s3:ListBucket and s3:GetObject are needed",
    "403": "access denied; s3:ListBucket and s3:GetObject are needed",
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
    "503": "the store is overloaded; run again later",
}
