"""How a child process notices that the supervisor that started it is gone, on every system."""

from __future__ import annotations

import os
import signal
import stat
import threading
import time

LIFELINE = "CANDLEWICK_LIFELINE_FD"  # a pipe whose other end the supervisor holds and never writes to


def watch_parent(*, grace_s: float = 15.0) -> bool:
    """End this process when its supervisor ends: SIGTERM first, and by force after `grace_s` seconds.

    Entry points call it once, early. Returns False, and watches nothing, in a process that no supervisor
    started. The kernel's own signal to orphans (Linux) comes as well; a second SIGTERM must do no harm.
    """
    number = os.environ.pop(LIFELINE, "")
    if not number.isdecimal():
        return False
    lifeline = int(number)
    try:
        if not stat.S_ISFIFO(os.fstat(lifeline).st_mode):
            return False
    except OSError:
        return False
    # Our own children have our end to notice, and must not take this number for a lifeline of theirs.
    os.set_inheritable(lifeline, False)

    def wait() -> None:
        while os.read(lifeline, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_s)
        os._exit(1)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()
    return True
