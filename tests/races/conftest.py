from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.races.support import Programs

Start = Callable[..., Programs]


@pytest.fixture
def programs(worker_env: dict[str, str]) -> Iterator[Start]:
    """Start a process for each call, and wait until all of them are ready to begin."""
    started: list[Programs] = []

    def start(*calls: tuple[Any, ...]) -> Programs:
        running = Programs(calls, worker_env)
        started.append(running)
        running.wait_until_ready()
        return running

    yield start
    for running in started:
        running.stop()
