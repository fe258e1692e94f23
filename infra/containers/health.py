"""The image's one health check: ``RESTARTIX_HEALTH`` says what a container is held to.

``http://...``: a GET is answered with success. ``fresh:<seconds>:<path>``: a file was written no longer ago, as the
finaliser's metrics are, which serves no HTTP. ``tcp:<port>``: something listens. Unset: nothing is checked.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

TIMEOUT_S = 4.0


def unhealthy(environ: Mapping[str, str], now_s: float) -> str | None:
    """What is wrong, or None. ``now_s``: Unix time."""
    what = environ.get("RESTARTIX_HEALTH", "").strip()
    try:
        if what.startswith(("http://", "https://")):
            with urllib.request.urlopen(what, timeout=TIMEOUT_S):
                return None
        kind, _, rest = what.partition(":")
        if kind == "tcp":
            socket.create_connection(("127.0.0.1", int(rest)), timeout=TIMEOUT_S).close()
            return None
        if kind == "fresh":
            seconds, _, path = rest.partition(":")
            age_s = now_s - Path(path).stat().st_mtime
            return None if age_s <= float(seconds) else f"{path} was written {age_s:.0f} s ago"
    except (OSError, ValueError) as error:
        return f"{what}: {error}"
    return None if not what else f"RESTARTIX_HEALTH is not understood: {what!r}"


def main() -> None:
    if (wrong := unhealthy(os.environ, time.time())) is not None:
        sys.exit(wrong)


if __name__ == "__main__":
    main()
