"""Flags that several commands share, in one place so that they say the same."""

from __future__ import annotations

import click

S3_ENDPOINT = click.option(
    "--s3-endpoint", metavar="URL", help="S3 server that is not AWS.  [default: AWS_ENDPOINT_URL]"
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object last, for machines.")
