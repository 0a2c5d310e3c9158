"""What the kernel has said of late, as dmesg prints it. Source: Documentation/ABI/testing/dev-kmsg."""

import os
import time

from pktpath.doctor.collect.notebook import Notebook

_RECENT = 24 * 3600.0
"""Seconds."""
_RECORD = 8192
"""Bytes of one record, the most that the kernel writes."""
_MOST = 4000
"""Lines that are kept: the last ones."""


def kernel_log(book: Notebook) -> None:
    """Take down what the kernel said during the last day; without the privilege that is missing."""
    try:
        log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        why = "needs CAP_SYSLOG" if isinstance(error, PermissionError) else error.strerror or str(error)
        book.lacks("the kernel's log", why, "run as root")
        return
    rows: list[str] = []
    since = (time.clock_gettime(time.CLOCK_BOOTTIME) - _RECENT) * 1e6
    try:
        while True:
            try:
                record = os.read(log, _RECORD)
            except BlockingIOError:
                break
            except BrokenPipeError:
                # Overwritten while we read: the next one is there.
                continue
            rows += _row(record.decode(errors="replace"), since)
    except OSError as error:
        book.lacks("the kernel's log", error.strerror or str(error), "run as root")
    finally:
        os.close(log)
    # That nothing was said is worth knowing, too.
    book.keep("dmesg", "\n".join(rows[-_MOST:] or ["(nothing during the last day)"]) + "\n")


def _row(record: str, since: float) -> list[str]:
    """Return the line of a record `priority,sequence,microseconds,flags;text`; facilities of programs are left out."""
    head, _, text = record.partition(";")
    fields = head.split(",")
    if len(fields) < 3 or not fields[0].isdigit() or int(fields[0]) >> 3 or not fields[2].isdigit() or int(fields[2]) < since:
        return []
    return [f"[{int(fields[2]) / 1e6:12.6f}] {text.split(chr(10), 1)[0]}"]
