"""A sealed blob back into its members, so that what only S3 still has can be computed from again. Pure."""

from __future__ import annotations

import zlib

import xxhash

_GZIP_ONLY = 31  # window bits asking zlib for the gzip wrapper and nothing else


def split(blob: bytes, decompressed_max_bytes: int) -> dict[bytes, bytes]:
    """The gzip members by the hash of what each holds (xxh3-128), in the blob's order.

    Raises ``ValueError`` where the blob is not whole gzip members of at most ``decompressed_max_bytes`` each.
    """
    bodies: dict[bytes, bytes] = {}
    position = 0
    while position < len(blob):
        inflater = zlib.decompressobj(_GZIP_ONLY)
        # A member's compressed size is unknown: feed a window that holds any member this large, and see what is left.
        window = blob[position : position + decompressed_max_bytes + 65_536]
        try:
            payload = inflater.decompress(window, decompressed_max_bytes + 1)
        except zlib.error as error:
            raise ValueError(f"no gzip member at byte {position}: {error}") from error
        if not inflater.eof:
            raise ValueError(f"the gzip member at byte {position} is cut short, or too large")
        length = len(window) - len(inflater.unused_data)
        bodies[xxhash.xxh3_128_digest(payload)] = blob[position : position + length]
        position += length
    return bodies
