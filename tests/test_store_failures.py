from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError, NoCredentialsError, ReadTimeoutError
from obstore.exceptions import GenericError, PermissionDeniedError, PreconditionError

from batch_fracture.codes import TRANSIENT, Code
from batch_fracture.errors import StoreError
from batch_fracture.store.failures import (
    LISTING_MESSAGES,
    image_error,
    is_denied,
    results_error,
    results_reason,
    source_error,
)


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
        (answer("403", 403), "s3:ListBucket and s3:GetObject are needed"),
        (PermissionError(13, "secret"), "Permission denied; mend its permissions"),
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


def of_obstore(code: str, status: int) -> GenericError:
    """As obstore 0.9 words it."""
    return GenericError(
        "Generic S3 error: Error performing GET http://127.0.0.1/b/secret in 2ms, after 6 retries - Server "
        f"returned non-2xx status code: {status} Forbidden: <?xml?>\n<Error><Code>{code}</Code><Key>"
        f'\n\nDebug source:\nGeneric {{ body: "<Error><Code>{code}</Code>" }}'
    )


def of_delta(code: str, status: int) -> OSError:
    """As delta-rs 1.x words it."""
    arrow = "\n   \x1b[31m\u21b3\x1b[0m "
    return OSError(
        f"Kernel error -> Generic S3 error{arrow}Error performing GET http://127.0.0.1/secret{arrow}10, "
        f"retry_timeout{arrow}180s  - Server returned non-2xx status code{arrow}{status} Bad{arrow}<?xml?>"
        f"\n<Error><Code>{code}</Code><Key>secret</Key></Error>"
    )


@pytest.mark.parametrize("client", [answer, of_obstore, of_delta])
@pytest.mark.parametrize(
    ("code", "status", "said", "passes"),
    [
        ("NoSuchBucket", 404, "no such bucket", False),
        ("AccessDenied", 403, "s3:PutObject and s3:DeleteObject are needed", False),
        ("SignatureDoesNotMatch", 403, "credentials are not valid", False),
        ("ExpiredToken", 400, "renew them", False),
        ("NeverHeardOf", 400, "the store answered NeverHeardOf", False),
        ("NeverHeardOf", 502, "the store answered NeverHeardOf; run again later", True),
        ("SlowDown", 503, "run again later", True),
        ("InternalError", 500, "run again later", True),
    ],
)
def test_an_answer_about_results_has_our_words_and_its_exit_code(
    client: Callable[[str, int], Exception], code: str, status: int, said: str, passes: bool
) -> None:
    error = client(code, status)
    assert said in results_reason(error)
    assert "secret" not in results_reason(error)
    assert "\n" not in results_reason(error)
    for found in (results_error("s3://b/r", error), source_error("s3://b/r", error)):
        assert type(found) is (StoreError if passes else type(found))
        assert found.exit_code == (1 if passes else 2)
    assert is_denied(error) == (code == "AccessDenied")


@pytest.mark.parametrize(
    ("error", "said", "exit_code"),
    [
        (GenericError("x after 6 retries - HTTP error: error sending request"), "--s3-endpoint", 1),
        (OSError("180s  - HTTP error\n error sending request\n refused (os error 111)"), "--s3-endpoint", 1),
        (ReadTimeoutError(endpoint_url="x"), "--s3-endpoint", 1),
        (answer("503", 503), "run again later", 1),
        (GenericError("x - Received redirect without LOCATION, this normally"), "set AWS_REGION", 2),
        (PermissionDeniedError("x"), "s3:DeleteObject are needed", 2),
        (NoCredentialsError(), "set AWS_PROFILE", 2),
        (OSError(errno.ESTALE, "x"), "Stale file handle; run again later", 1),
        (OSError("log: Permission denied (os error 13)"), "mend its permissions", 2),
        (ValueError("\x1b[31mInvalid\x1b[0m table version: 9\nmore"), "Invalid table version: 9", 2),
        (ValueError(), "ValueError", 2),
    ],
)
def test_what_no_server_answered(error: Exception, said: str, exit_code: int) -> None:
    assert results_reason(error).endswith(said) or said in results_reason(error)
    assert results_error("r", error).exit_code == exit_code


def test_who_may_not_is_told_from_what_is_wrong() -> None:
    assert is_denied(PermissionError(errno.EACCES, "x"))
    assert is_denied(PermissionDeniedError("status code: 403 Forbidden"))
    assert not is_denied(FileNotFoundError(errno.ENOENT, "x"))
    assert not is_denied(GenericError("x"))


def test_every_code_of_a_listing_has_words() -> None:
    assert set(LISTING_MESSAGES) == TRANSIENT - {Code.CHANGED} | {Code.NOT_AN_IMAGE}
