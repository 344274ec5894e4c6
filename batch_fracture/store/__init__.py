"""The image store: what is there, and the bytes of one image. Disk and buckets come through this one door."""

from batch_fracture.store.ahead import fetch_ahead
from batch_fracture.store.bucket import FROM_ENVIRONMENT, Access
from batch_fracture.store.failures import LISTING_MESSAGES
from batch_fracture.store.listing import list_images
from batch_fracture.store.reading import FETCH_LIMIT_S, read_bytes

__all__ = [
    "FETCH_LIMIT_S",
    "FROM_ENVIRONMENT",
    "LISTING_MESSAGES",
    "Access",
    "fetch_ahead",
    "list_images",
    "read_bytes",
]
