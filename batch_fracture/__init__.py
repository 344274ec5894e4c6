"""batch-fracture re-reads archives of bone radiographs and writes an audited Parquet table."""

__version__ = "0.1.0"
