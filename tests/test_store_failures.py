from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, NoCredentialsError, ReadTimeoutError
from obstore.exceptions import GenericError, PermissionDeniedError, PreconditionError

from batch_fracture.codes import TRANSIENT, Code
from batch_fracture.store.failures import LISTING_MESSAGES, image_error, source_error


def answer(code: str, status: int) -> ClientError:
    said = {"Error": {"Code": code, "Message": "secret"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(said, "GetObject")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (answer("NoSuchKey", 404), Code.GONE),
        (answer("404", 404), Code.GONE),
        (answer("PreconditionFailed", 412), Code.CHANGED),
        (answer("AccessDenied", 403), Code.ACCESS_DENIED),
        (answer("InvalidObjectState", 403), Code.ACCESS_DENIED),
        (answer("SlowDown", 503), Code.STORE_ERROR),
        (FileNotFoundError("secret"), Code.GONE),
        (PreconditionError("secret"), Code.CHANGED),
        (PermissionDeniedError("secret"), Code.ACCESS_DENIED),
        (PermissionDeniedError("secret <Code>InvalidObjectState</Code>"), Code.ACCESS_DENIED),
        (GenericError("secret"), Code.STORE_ERROR),
        (ReadTimeoutError(endpoint_url="secret"), Code.STORE_ERROR),
    ],
)
def test_each_failure_has_its_code_and_our_words(error: Exception, code: Code) -> None:
    found = image_error(error)
    assert found.code is code
    assert "secret" not in found.message
    assert ("archive" in found.message) == ("InvalidObjectState" in str(error))


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (answer("NoSuchBucket", 404), "check its name"),
        (answer("PermanentRedirect", 301), "set AWS_REGION"),
        (answer("AuthorizationHeaderMalformed", 400), "set AWS_REGION"),
        (answer("ExpiredToken", 400), "renew them"),
        (answer("NeverHeardOf", 400), "NeverHeardOf"),
        (NoCredentialsError(), "set AWS_PROFILE"),
        (ReadTimeoutError(endpoint_url="secret"), "--s3-endpoint"),
        (PermissionDeniedError("secret"), "s3:ListBucket"),
        (GenericError("secret"), "check endpoint"),
    ],
)
def test_a_source_that_fails_is_one_line_with_a_remedy(error: Exception, remedy: str) -> None:
    said = str(source_error("s3://b/x", error))
    assert said.startswith("source 's3://b/x': ")
    assert remedy in said
    assert "secret" not in said


def test_every_code_of_a_listing_has_words() -> None:
    assert set(LISTING_MESSAGES) == TRANSIENT - {Code.CHANGED} | {Code.NOT_AN_IMAGE}
