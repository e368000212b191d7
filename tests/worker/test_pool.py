"""The threads of a worker: all work is done, by no more of them than there may be."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from django_jobs.worker.buffer import Buffer
from django_jobs.worker.pool import Pool

SOON = 30.0


class Gathering:
    """Work that waits until `count` threads are at it."""

    def __init__(self, count: int) -> None:
        self.barrier = threading.Barrier(count)
        self.met = threading.Semaphore(0)

    def __call__(self) -> None:
        self.barrier.wait(SOON)
        self.met.release()

    def has_met(self) -> bool:
        return all(self.met.acquire(timeout=SOON) for _ in range(self.barrier.parties))


@pytest.fixture(params=[0.0, 0.001], ids=["eager", "patient"])
def make_pool(request: pytest.FixtureRequest) -> Iterator[Callable[[int], Pool]]:
    pools: list[Pool] = []

    def make(size: int) -> Pool:
        pools.append(Pool(size, patience=request.param))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()
        pool.join(SOON)


def test_works_that_wait_for_each_other_are_run_at_once(make_pool):
    pool = make_pool(8)
    gathering = Gathering(8)
    pool.submit(*[gathering] * 8)
    assert gathering.has_met()


def test_a_work_that_is_submitted_while_others_hang_is_run(make_pool):
    pool = make_pool(4)
    end, begun = threading.Event(), threading.Semaphore(0)

    def hang() -> None:
        begun.release()
        end.wait(SOON)

    for _ in range(3):
        pool.submit(hang)
    assert all(begun.acquire(timeout=SOON) for _ in range(3))
    done = threading.Event()
    pool.submit(done.set)
    assert done.wait(SOON)
    end.set()


def test_the_second_of_two_works_is_not_left_to_a_thread_that_hangs_in_the_first(make_pool):
    end = threading.Event()
    for _ in range(20):
        done = threading.Event()
        make_pool(2).submit(lambda: end.wait(SOON) or None, done.set)
        assert done.wait(SOON)
    end.set()


def test_long_works_behind_short_ones_are_run_at_once(make_pool):
    """The threads wake one after the other, the further ones by who watches."""
    pool = make_pool(6)
    gathering = Gathering(6)
    pool.submit(*[int] * 1000, *[gathering] * 6, *[int] * 1000)
    assert gathering.has_met()


def test_no_more_threads_work_than_there_may_be_and_nothing_is_lost_or_run_twice(make_pool):
    pool = make_pool(3)
    ran: Counter[int] = Counter()
    at_once: list[int] = []
    running = 0
    lock = threading.Lock()

    def work(number: int) -> None:
        nonlocal running
        with lock:
            running += 1
            at_once.append(running)
            ran[number] += 1
        if number % 7 == 0:
            time.sleep(0.002)
        with lock:
            running -= 1

    def submit(first: int) -> None:
        for number in range(first, first + 500, 5):
            pool.submit(
                *[lambda number=number: work(number) for number in range(number, number + 5)]
            )

    submitters = [threading.Thread(target=submit, args=(first,)) for first in (0, 500, 1000, 1500)]
    for thread in submitters:
        thread.start()
    for thread in submitters:
        thread.join()
    pool.close()
    pool.join(SOON)
    assert ran == Counter(range(2000))
    assert max(at_once) <= 3


def test_what_is_submitted_is_done_though_the_pool_is_closed(make_pool):
    pool = make_pool(2)
    begun, end = threading.Event(), threading.Event()
    pool.submit(int)

    def hang() -> None:
        begun.set()
        end.wait(SOON)

    pool.submit(hang)
    assert begun.wait(SOON)
    done = threading.Semaphore(0)
    pool.submit(*[done.release] * 10)
    pool.close()
    pool.submit(done.release)
    end.set()
    assert all(done.acquire(timeout=SOON) for _ in range(11))


def test_short_works_are_left_to_a_thread_that_is_awake():
    pool = Pool(10, patience=1.0)
    threads: set[int] = set()
    done = threading.Event()
    pool.submit(*[lambda: threads.add(threading.get_ident())] * 1000, done.set)
    assert done.wait(SOON)
    assert len(threads) == 1
    pool.close()


def test_more_threads_wake_where_short_works_leave_the_process_idle():
    pool = Pool(10, patience=0.01)
    threads: set[int] = set()
    done = threading.Event()

    def work() -> None:
        threads.add(threading.get_ident())
        time.sleep(0.002)

    pool.submit(*[work] * 300)
    pool.submit(done.set)
    assert done.wait(SOON)
    assert len(threads) > 1
    pool.close()


def test_what_is_claimed_ahead_is_what_one_thread_runs_where_one_runs_all():
    buffer = Buffer(threads=10, most=1000)
    for _ in range(30):
        begun = buffer.begin()
        time.sleep(0.002)
        buffer.end(begun)
    # 500 a second at the most, for a tenth of a second.
    assert 0 < buffer.size() <= 50


def test_what_is_claimed_ahead_is_what_all_threads_run_where_they_run_at_once():
    buffer = Buffer(threads=2, most=1000)
    begun = [buffer.begin(), buffer.begin()]
    time.sleep(0.05)
    for moment in begun:
        buffer.end(moment)
    assert 1 <= buffer.size() <= 4


def test_nothing_is_claimed_ahead_of_jobs_that_take_long():
    buffer = Buffer(threads=2, most=1000)
    begun = buffer.begin()
    time.sleep(0.3)
    buffer.end(begun)
    assert buffer.size() == 0
