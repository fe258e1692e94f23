"""Run a command that ends when its parent ends.

    python -I -S tether.py PARENT_PID SIGNAL -- COMMAND [ARGUMENT...]

The kernel sends SIGNAL to COMMAND as soon as the process PARENT_PID (0: whoever started this) is gone, however it went:
a test run killed with -9 leaves no server behind. The script becomes COMMAND (exec), so its process id is the command's
own. It stands innermost, after any change of user, because the kernel forgets the wish when credentials change
(prctl(2), PR_SET_PDEATHSIG).

Belongs here: this one script, standard library only. Does not belong here: choosing what to run.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1


def wrap(command: Sequence[str], *, parent_pid: int, on_parent_exit: signal.Signals) -> list[str]:
    """The argument vector that runs `command` tethered to `parent_pid` (0: to whichever process starts it)."""
    return [sys.executable, "-I", "-S", __file__, str(parent_pid), str(int(on_parent_exit)), "--", *command]


def main(arguments: Sequence[str]) -> None:
    parent_pid, signal_number, separator, *command = arguments
    if separator != "--" or not command:
        raise SystemExit(__doc__)
    expected = int(parent_pid) or os.getppid()
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal_number)) != 0:
        raise SystemExit(f"tether: prctl failed: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != expected:  # the parent ended before the wish was made
        raise SystemExit("tether: the parent is already gone")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
