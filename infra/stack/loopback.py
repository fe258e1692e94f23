"""Free TCP ports on the loopback interface. Nothing else about networking belongs here."""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence

HOST = "127.0.0.1"
# Below Linux's ephemeral range (32768 and up): no outgoing connection takes a port between our look and our bind.
FIRST_PORT = 10_240
LAST_PORT = 22_000


class NoFreePortError(RuntimeError):
    """No port, or no run of ports, was free within the tries allowed."""


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` at 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_run(
    length: int, *, offsets: Sequence[int] = (0,), preferred: int | None = None, rng: random.Random | None = None
) -> int:
    """The first of `length` consecutive ports, each free at all `offsets` (a server's second port, say, at + 10000).

    `preferred` is taken if it is free; otherwise ports are drawn at random, so that runs beside each other rarely meet.
    """
    chooser = rng or random.Random()
    candidates = [] if preferred is None else [preferred]
    candidates += [chooser.randrange(FIRST_PORT, LAST_PORT - length) for _ in range(200)]
    for first in candidates:
        if all(is_free(first + step + offset) for step in range(length) for offset in offsets):
            return first
    raise NoFreePortError(f"no {length} free port(s) in a row between {FIRST_PORT} and {LAST_PORT} on {HOST}")
