"""Telling people: one JSON POST to a webhook, tried again with back-off.

The body has `text` in words, which chat services show as it is, and the same in fields for anything else. It holds
names of jobs and checks and counts, never an id of a patient or a session.

Belongs here: sending. Does not belong here: what is worth telling (`defs/alerts.py`).
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

TRIES = 3
TIMEOUT_S = 5.0

Kind = Literal["failed", "recovered", "reminder"]


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One thing somebody should know. `what` is a job or `asset: check`."""

    kind: Kind
    what: str
    text: str
    severity: Literal["error", "warning", "info"]
    at: str  # RFC 3339, UTC
    url: str | None = None
    runbook: str | None = None
    metadata: Mapping[str, str | int | float | bool | None] = msgspec.field(default_factory=dict)


class NotDeliveredError(RuntimeError):
    """The webhook did not take the notice, however often it was tried; the message says why."""


def send(url: str, notice: Notice, *, sleep: Callable[[float], None] = time.sleep, first_delay_s: float = 1.0) -> None:
    """POST the notice; three tries, 1 s and 4 s apart. Raises NotDeliveredError.

    A refusal that another try cannot change (4xx, but for 408 and 429) is raised at once.
    """
    body = msgspec.json.encode(notice)
    for attempt in range(TRIES):
        if attempt:
            sleep(first_delay_s * 4 ** (attempt - 1))
        request = urllib.request.Request(
            url, data=body, headers={"Content-Type": "application/json", "User-Agent": "restartix"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S):
                return
        except urllib.error.HTTPError as refused:
            refused.close()
            said = f"HTTP {refused.code}"
            if refused.code < 500 and refused.code not in (408, 429):
                break
        except (OSError, ValueError) as error:
            said = f"{type(error).__name__}: {error}"
    raise NotDeliveredError(f"the webhook did not take {notice.what!r}: {said}")
