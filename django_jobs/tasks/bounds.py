"""What a queue may be called and how far a priority goes."""

from __future__ import annotations

from typing import Any


def check_queue(queue: Any) -> None:
    if queue is None:
        return
    if not isinstance(queue, str):
        raise TypeError(f"queue must be a string, not {type(queue).__name__}.")
    if not queue or len(queue) > 255 or "\x00" in queue or "," in queue:
        raise ValueError(
            "queue must have 1 to 255 characters, without commas, which separate queues "
            "on the command line."
        )


def check_priority(priority: Any) -> None:
    if priority is None:
        return
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise TypeError(f"priority must be an integer, not {type(priority).__name__}.")
    if not -100 <= priority <= 100:
        raise ValueError(f"priority must be from -100 to 100, not {priority}.")
