"""Every table's columns, in one place: what is listed, planned, read, and recorded."""

from __future__ import annotations

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")

LISTING = pa.schema(
    [
        ("image_uri", pa.string()),
        ("image_version", pa.string()),
        ("size_bytes", pa.int64()),
        ("modified_at", TIMESTAMP),
        ("listing_code", pa.string()),  # what the listing alone decides, such as NAME_UNREADABLE
    ]
)

MANIFEST = pa.schema([*LISTING, ("reading_id", pa.string()), ("unit", pa.int32())])

READINGS = pa.schema(
    [
        ("reading_id", pa.string()),
        ("image_uri", pa.string()),
        ("image_version", pa.string()),
        ("image_sha256", pa.string()),
        ("size_bytes", pa.int64()),
        ("modified_at", TIMESTAMP),
        ("media_type", pa.string()),
        ("rows", pa.int32()),
        ("columns", pa.int32()),
        ("bits_stored", pa.int16()),
        ("modality", pa.string()),
        ("body_part_examined", pa.string()),
        ("view_position", pa.string()),
        ("laterality", pa.string()),
        ("photometric_interpretation", pa.string()),
        ("transfer_syntax_uid", pa.string()),
        ("manufacturer", pa.string()),
        ("study_instance_uid", pa.string()),
        ("series_instance_uid", pa.string()),
        ("sop_instance_uid", pa.string()),
        ("status", pa.string()),
        ("error_stage", pa.string()),
        ("error_code", pa.string()),
        ("error_message", pa.string()),
        ("logit", pa.float32()),
        ("probability", pa.float32()),
        ("fracture", pa.bool_()),
        ("threshold", pa.float32()),
        ("operating_point", pa.string()),
        ("model", pa.string()),
        ("model_digest", pa.string()),
        ("engine", pa.string()),
        ("code_version", pa.string()),
        ("settings_digest", pa.string()),
        ("run_id", pa.string()),
        ("unit", pa.int32()),
        ("read_at", TIMESTAMP),
        ("read_date", pa.date32()),
        ("pseudonym_key_id", pa.string()),
    ]
)

PARTITION = "read_date"
UNIT_FILE = pa.schema([field for field in READINGS if field.name != PARTITION])
"""What a Parquet file holds. Its folder `read_date=YYYY-MM-DD` holds the rest: pandas and pyarrow refuse a
partition column that stands in both."""

DECODED = pa.schema(
    [
        *(field for field in READINGS if field.name in {*LISTING.names, *MANIFEST.names}),
        *(
            field
            for field in READINGS
            if field.name
            in {
                "image_sha256",
                "media_type",
                "rows",
                "columns",
                "bits_stored",
                "modality",
                "body_part_examined",
                "view_position",
                "laterality",
                "photometric_interpretation",
                "transfer_syntax_uid",
                "manufacturer",
                "study_instance_uid",
                "series_instance_uid",
                "sop_instance_uid",
                "status",
                "error_stage",
                "error_code",
                "error_message",
            }
        ),
        ("pixels", pa.binary()),
        ("fetch_s", pa.float32()),
        ("decode_s", pa.float32()),
        ("decoded_at", pa.float64()),
    ]
)
"""Between the two stages of the pipeline. `pixels`: uint8 (S, S) in C order, null unless `status` is read.
The last three are seconds, and seconds since 1970; no table keeps them."""

WORK = pa.schema(
    [*((f"{stage}_s", pa.float32()) for stage in ("fetch", "decode", "wait", "infer")), ("node", pa.string())]
)
"""What the pipeline says of each row's making beside `UNIT_FILE`: seconds, and Ray's id of the node."""

RUNS = pa.schema(
    [
        ("run_id", pa.string()),
        ("outcome", pa.string()),
        ("sources", pa.list_(pa.string())),
        ("model", pa.string()),
        ("model_digest", pa.string()),
        ("engine", pa.string()),
        ("operating_point", pa.string()),
        ("threshold", pa.float32()),
        ("settings_digest", pa.string()),
        ("code_version", pa.string()),
        ("read_date", pa.date32()),
        ("started_at", TIMESTAMP),
        ("ended_at", TIMESTAMP),
        ("listed", pa.int64()),
        ("unchanged", pa.int64()),
        ("read", pa.int64()),
        ("skipped", pa.int64()),
        ("failed", pa.int64()),
        ("not_reached", pa.int64()),
        ("taken_by_other_runs", pa.int64()),
        ("positive", pa.int64()),
        ("table_version", pa.int64()),
    ]
)
