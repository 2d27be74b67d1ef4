"""Become another program that ends when its parent does and, where asked, is not root.

Run by path with a bare interpreter (`python -I -S launch.py … -- program arguments`), so it uses the standard
library alone. It replaces itself by the program: the process id stays, nothing of it remains in memory.
Exit status 126 says that the way asked for is closed on this machine; the reason is on standard error.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
from pathlib import Path
from typing import NoReturn

CANNOT = 126
_CLONE_NEWUSER = 0x10000000  # linux/sched.h
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def enter_user_namespace(inside: int) -> None:
    """Be user and group `inside` in a namespace of our own; files of ours stay ours. Raises OSError.

    The same as `unshare --user --map-user --map-group`, which older and smaller systems lack.
    """
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "no user namespace: " + os.strerror(ctypes.get_errno()))
    # Without CAP_SETGID outside, the kernel takes a group map only once setgroups is given up.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{inside} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{inside} {group} 1")


def die_with(parent: int, signal_number: int) -> None:
    """Have the kernel send `signal_number` when the thread that started us ends; only Linux can."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if os.getppid() != parent:
        # It ended before we asked, so no signal will come.
        sys.exit(CANNOT)


def main() -> NoReturn:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True, help="process id of whoever started this")
    parser.add_argument("--signal", type=int, required=True, help="number of the signal sent when it ends")
    parser.add_argument("--namespace", type=int, help="user id to be inside a user namespace")
    parser.add_argument("--user", help="UID:GID to become")
    parser.add_argument("--writable", type=Path, help="a folder that must be writable by then")
    parser.add_argument("program", nargs="+")
    options = parser.parse_args()
    program: list[str] = options.program
    try:
        if options.namespace is not None:
            enter_user_namespace(options.namespace)
        elif options.user is not None:
            user, group = map(int, options.user.split(":"))
            os.setgroups([])
            os.setgid(group)
            os.setuid(user)
        if options.writable is not None and not os.access(options.writable, os.W_OK | os.X_OK):
            raise PermissionError(f"{options.writable} cannot be written")
        # After the change of user: the kernel forgets the request when credentials change.
        die_with(options.parent, options.signal)
        os.execv(program[0], program)
    except OSError as error:
        sys.stderr.write(f"{program[0]}: {error}\n")
        sys.exit(CANNOT)


if __name__ == "__main__":
    main()
