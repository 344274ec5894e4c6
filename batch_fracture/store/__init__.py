"""The image store: what is there, and the bytes of one image. Local disk; buckets come through this door."""

from batch_fracture.store.bucket import Access
from batch_fracture.store.disk import LISTING_MESSAGES, Entry, list_images, read_bytes

__all__ = ["LISTING_MESSAGES", "Access", "Entry", "list_images", "read_bytes"]
