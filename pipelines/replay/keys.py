"""Where a session's sealed objects are in the bucket, and how they are tagged for the lifecycle rules. Pure."""

from __future__ import annotations

from uuid import UUID

RETENTION_TAG = "retention"
MEDIA_RETENTION = "media"


def blob_key(organisation_id: int, session_id: UUID) -> str:
    """The replay blob."""
    return f"{organisation_id}/{session_id}.bin.gz"


def events_key(organisation_id: int, session_id: UUID) -> str:
    """The media events object beside it."""
    return f"{organisation_id}/{session_id}.events.jsonl.gz"
