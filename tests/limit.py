#!/usr/bin/env python3
"""limit.py SECONDS COMMAND...: runs a test suite, which must end in time.

If it does not, this says what each of its processes was doing (with the stacks of its threads where gdb is there), ends
them all, and exits with status 124. Else it exits with the command's status. A suite that hangs then fails by name, and
the next ones run.
"""
import os
import shutil
import signal
import subprocess
import sys


def read(path):
    try:
        with open(path, 'rb') as file:
            return file.read().decode(errors='replace')
    except OSError:
        return ''


def members(group):
    """The processes of a process group."""
    for name in filter(str.isdigit, os.listdir('/proc')):
        stat = read(f'/proc/{name}/stat').rpartition(')')[2].split()
        if len(stat) > 2 and int(stat[2]) == group:
            yield int(name)


def describe(pid):
    print(f'process {pid}: {read(f"/proc/{pid}/cmdline").replace(chr(0), " ")}')
    for task in sorted(os.listdir(f'/proc/{pid}/task'), key=int):
        at = f'/proc/{pid}/task/{task}/'
        state = read(at + 'stat').rpartition(')')[2].split()
        if state:
            print(f'  thread {task} {read(at + "comm").strip()}: state {state[0]}, {state[11]} ticks, {read(at + "wchan")}')
    sys.stdout.flush()
    if shutil.which('gdb'):
        command = ['gdb', '-p', str(pid), '-batch', '-nx', '-ex', 'thread apply all backtrace 24']
        subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60, check=False)


def main():
    child = subprocess.Popen(sys.argv[2:], start_new_session=True)

    def end(signum, _):
        os.killpg(child.pid, signal.SIGKILL)
        sys.exit(128 + signum)

    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, end)
    try:
        status = child.wait(timeout=float(sys.argv[1]))
        sys.exit(status if status >= 0 else 128 - status)
    except subprocess.TimeoutExpired:
        print(f'FAIL it did not end within {sys.argv[1]} s')
    for pid in list(members(child.pid)):
        try:
            describe(pid)
        except (OSError, subprocess.TimeoutExpired) as error:
            print(error)
    os.killpg(child.pid, signal.SIGKILL)
    sys.exit(124)


main()
