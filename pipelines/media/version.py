"""The version of the media figures: what must be the same for two results to be comparable."""

from __future__ import annotations

from typing import Final

# Raise when a change in this package can change a stored number.
MEDIA_VERSION: Final = "3"


def media_version() -> str:
    """E.g. ``media-3``. No numeric library takes part: the figures are plain float arithmetic."""
    return f"media-{MEDIA_VERSION}"
