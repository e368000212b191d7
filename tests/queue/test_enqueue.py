from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import DataError, connections, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_jobs import Retry, jobs, signals, task, workflow
from django_jobs.exceptions import InvalidInputError, UnknownTaskError
from django_jobs.models import Job, JobLog, JobStatus, LogState
from django_jobs.queue import insert_at_once
from django_jobs.tasks.enqueue import Options, enqueue
from tests.queue.support import pks

pytestmark = pytest.mark.django_db

THEN = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def echo() -> Any:
    @task(slug="echo")
    def echo(value: Any = None) -> Any:
        return value

    return echo


@pytest.mark.django_db(transaction=True)
def test_a_plain_job_is_one_insert(django_assert_num_queries: Any) -> None:
    plain = echo()
    with django_assert_num_queries(1) as captured:
        plain.enqueue(value=3)
    assert captured[0]["sql"].startswith("INSERT INTO")


@pytest.mark.django_db(transaction=True)
def test_a_plain_job_is_one_insert_by_its_slug_with_every_option(
    django_assert_num_queries: Any,
) -> None:
    echo()
    with django_assert_num_queries(1):
        jobs.enqueue("echo", {"value": 3}, queue="q", priority=3, wait_until=THEN, meta={"a": 1})


def test_a_job_is_stored_as_it_was_asked_for() -> None:
    before = timezone.now()
    added = jobs.enqueue(
        echo(), {"value": 3}, queue="q", priority=-7, wait_until=THEN, meta={"a": [1]}
    )
    stored = Job.objects.get(pk=added.pk)
    assert (stored.slug, stored.kind, stored.queue, stored.priority) == ("echo", "task", "q", -7)
    assert (stored.input, stored.meta, stored.wait_until) == ({"value": 3}, {"a": [1]}, THEN)
    assert (stored.status, stored.output, stored.error) == (JobStatus.READY, None, None)
    assert (stored.total_tried, stored.concurrency_key, stored.parent) == (0, None, None)
    assert before <= stored.created_at <= timezone.now()
    assert not added.was_duplicate


def test_queue_and_priority_fall_back_to_those_of_the_task() -> None:
    @workflow(slug="flow", queue="slow", priority=4)
    def declared(ctx: Any) -> None:
        pass

    flow: Any = declared
    for added in (flow.enqueue(), jobs.enqueue("flow"), jobs.enqueue(flow, queue=None)):
        assert (added.queue, added.priority, added.kind) == ("slow", 4, "workflow")
    assert flow.using(priority=0).enqueue().priority == 0


def test_positional_arguments_are_stored_by_name() -> None:
    assert Job.objects.get(pk=echo().enqueue(5).pk).input == {"value": 5}


def test_the_async_twin_adds_the_same() -> None:
    added = async_to_sync(echo().aenqueue)(value=1)
    assert Job.objects.get().pk == added.pk


def test_a_job_of_a_transaction_that_is_rolled_back_does_not_exist() -> None:
    plain = echo()
    with transaction.atomic():
        plain.enqueue()
        plain.enqueue_many([{}, {}])
        transaction.set_rollback(True)
    assert not Job.objects.exists()


def test_many_jobs_are_returned_in_their_order() -> None:
    added = echo().enqueue_many([{"value": number} for number in range(1200)])
    assert [job.input["value"] for job in added] == list(range(1200))
    values = dict(Job.objects.values_list("pk", "input"))
    assert [values[job.pk]["value"] for job in added] == list(range(1200))
    assert pks(added) == sorted(pks(added))


@pytest.mark.django_db(transaction=True)
def test_many_jobs_are_one_insert_per_batch() -> None:
    plain = echo()
    with CaptureQueriesContext(connections["default"]) as few:
        plain.enqueue_many([{}] * 2)
    with CaptureQueriesContext(connections["default"]) as many:
        plain.enqueue_many([{}] * 3000)
    assert (inserts(few), inserts(many)) == (1, 3)
    assert Job.objects.count() == 3002


@pytest.mark.skipif(not insert_at_once.is_supported("default"), reason="bulk_create() is several.")
@pytest.mark.django_db(transaction=True)
def test_many_jobs_are_one_statement_without_a_transaction(django_assert_num_queries: Any) -> None:
    plain = echo()
    with django_assert_num_queries(1):
        plain.enqueue_many([{}] * 1000)
    with transaction.atomic(), django_assert_num_queries(1):
        plain.enqueue_many([{}] * 2)


def inserts(queries: CaptureQueriesContext) -> int:
    return sum(query["sql"].startswith("INSERT") for query in queries.captured_queries)


def test_what_varies_between_many_jobs_is_stored_as_it_was_asked_for() -> None:
    plain = echo()
    soon = THEN + timedelta(microseconds=123456)
    values = [True, 1, 1.0, 2**70, "1", 'ä"\\ \n', None, {"b": [None]}]
    given: list[Any] = [
        (plain, {"value": value}, Options(queue=f"q{number}", wait_until=soon if number else None))
        for number, value in enumerate(values)
    ]
    added = enqueue(given)
    stored = Job.objects.order_by("pk")
    assert repr([job.input["value"] for job in stored]) == repr(values)
    assert [job.queue for job in stored] == [f"q{number}" for number in range(len(values))]
    assert [job.wait_until for job in stored] == [None, *[soon] * (len(values) - 1)]
    assert [job.input for job in added] == [job.input for job in stored]


def test_what_is_nearly_alike_in_many_jobs_is_stored_as_it_was_asked_for() -> None:
    @task(slug="keyed", concurrency=lambda input, queue: input["key"])
    def keyed(key: str | None) -> None: ...

    metas: list[Any] = [{"a": True}, {"a": 1}, {"a": 1.0}, None, {"a": "ä'%s"}]
    keys = [None, "'", '"\\', "ä%s", "1"]
    given: list[Any] = [
        (keyed, {"key": key}, Options(meta=meta, retries=Retry(attempts=1) if key else None))
        for key, meta in zip(keys, metas, strict=True)
    ]
    for added in (enqueue(given), [enqueue([one])[0] for one in given]):
        stored = Job.objects.filter(pk__in=pks(added)).order_by("pk")
        assert repr([job.meta for job in stored]) == repr([meta or {} for meta in metas])
        assert [job.concurrency_key for job in stored] == keys
        assert [job.concurrency_limit for job in stored] == [None, 1, 1, 1, 1]
        assert [job.retries and job.retries["attempts"] for job in stored] == [None, 1, 1, 1, 1]


def test_jobs_that_are_added_together_have_notes_of_their_own() -> None:
    plain = echo()
    first, second = plain.using(meta={"a": 1}).enqueue_many([{}, {}])
    first.meta["a"] = first.input["value"] = 2
    assert (second.meta, second.input) == ({"a": 1}, {})
    first, second = plain.enqueue_many([{}, {}])
    first.meta["a"] = 2
    assert second.meta == {}


def test_jobs_are_found_by_the_whole_of_their_input() -> None:
    plain = echo()
    added = [plain.enqueue(value="ä b"), *plain.enqueue_many([{"value": "ä b"}, {"value": "c"}])]
    found = Job.objects.filter(input={"value": "ä b"}).order_by("pk")
    assert pks(list(found)) == pks(added[:2])


@pytest.mark.only_on("postgresql")
def test_a_text_that_is_too_long_is_refused_and_not_cut() -> None:
    plain = echo()
    given: list[Any] = [(plain, {}, Options(queue=letter * 256)) for letter in "ab"]
    with pytest.raises(DataError):
        enqueue(given)


@pytest.mark.only_on("postgresql")
@pytest.mark.parametrize(("threshold", "prepared"), [(None, 0), (0, 1)])
def test_the_insert_is_prepared_where_the_project_lets_it(
    threshold: int | None, prepared: int
) -> None:
    connection: Any = connections["default"]
    plain = echo()
    usual = connection.connection.prepare_threshold
    connection.connection.prepare_threshold = threshold
    try:
        first, second = plain.enqueue(value=3), plain.enqueue(value=4)
    finally:
        connection.connection.prepare_threshold = usual
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'INSERT%'")
        assert cursor.fetchone() == (prepared,)
        cursor.execute("DEALLOCATE ALL")
    assert set(pks(list(Job.objects.all()))) == {first.pk, second.pk}


def test_no_job_is_added_for_an_empty_list() -> None:
    assert echo().enqueue_many([]) == []
    assert jobs.enqueue_many([]) == []


def test_jobs_of_several_tasks_are_added_at_once() -> None:
    plain = echo()

    @task(slug="other", queue="q")
    def other() -> None:
        pass

    added = jobs.enqueue_many(
        [("other", None), (plain, {"value": 1}), (plain.using(priority=1), {})]
    )
    assert [job.slug for job in added] == ["other", "echo", "echo"]
    assert [job.queue for job in added] == ["q", "default", "default"]
    assert [job.priority for job in added] == [0, 0, 1]


def test_the_options_of_many_jobs_are_for_each_of_their_tasks() -> None:
    plain = echo()
    called = plain.using(priority=1, meta={"a": 1})
    added = jobs.enqueue_many(
        [("echo", {}), (called, {}), (plain, {}), (called, {}), (called.using(priority=2), {})],
        queue="q",
    )
    assert [job.queue for job in added] == ["q"] * 5
    assert [job.priority for job in added] == [0, 1, 0, 1, 2]
    assert [job.meta for job in added] == [{}, {"a": 1}, {}, {"a": 1}, {"a": 1}]


def test_nothing_is_stored_when_one_of_many_is_invalid() -> None:
    plain = echo()
    with pytest.raises(InvalidInputError):
        plain.enqueue_many([{"value": 1}, {"wrong": 1}])
    with pytest.raises(UnknownTaskError):
        jobs.enqueue_many([(plain, {}), ("unknown", {})])
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), "a\x00b", "\ud800", {"a\x00": 1}, ["\udfff"], object(), {1, 2}],
    ids=["NaN", "infinity", "NUL", "surrogate", "NUL key", "in a list", "object", "set"],
)
def test_what_no_database_can_hold_is_refused_and_nothing_stored(value: Any) -> None:
    plain = echo()
    with pytest.raises(InvalidInputError):
        plain.enqueue(value=value)
    with pytest.raises(InvalidInputError):
        plain.enqueue_many([{"value": 1}, {"value": value}])
    with pytest.raises(InvalidInputError):
        plain.using(meta={"value": value}).enqueue()
    with pytest.raises(InvalidInputError):
        jobs.enqueue(plain, log=[{"message": "a", "data": value}])
    assert not Job.objects.exists()


@pytest.mark.parametrize("value", ["\\u0000", "\\", "\U0001f600", "é", {"": [None, True]}, 2**53])
def test_what_only_looks_dangerous_is_stored_unchanged(value: Any) -> None:
    added = echo().enqueue(value=value)
    assert Job.objects.get(pk=added.pk).input == {"value": value}


def test_an_input_over_the_limit_is_refused() -> None:
    plain = echo()
    fitting = len('{"value": ""}')
    with override_settings(DJANGO_JOBS={"MAX_INPUT_BYTES": fitting + 4}):
        plain.enqueue(value="éé")
        with pytest.raises(InvalidInputError, match="MAX_INPUT_BYTES"):
            plain.enqueue(value="ééa")
    assert Job.objects.count() == 1


def test_the_limit_is_that_of_each_input_and_not_of_all() -> None:
    plain = echo()
    with override_settings(DJANGO_JOBS={"MAX_INPUT_BYTES": len('{"value": ""}') + 4}):
        plain.enqueue_many([{"value": "four"}] * 3)
        with pytest.raises(InvalidInputError, match="18 bytes"):
            plain.enqueue_many([{"value": "four"}, {"value": "fives"}, {"value": "a"}])
    assert Job.objects.count() == 3


def test_an_input_over_a_megabyte_is_refused_by_default() -> None:
    plain = echo()
    with pytest.raises(InvalidInputError, match="1048576"):
        plain.enqueue(value="a" * 1024 * 1024)
    assert not Job.objects.exists()


def test_first_log_entries_are_stored_as_messages() -> None:
    added = jobs.enqueue(echo(), log=["first", {"message": "second", "data": {"a": 1}}])
    entries = list(added.log)
    assert [(entry.message, entry.data) for entry in entries] == [
        ("first", None),
        ("second", {"a": 1}),
    ]
    assert {entry.state for entry in entries} == {LogState.MESSAGE}


def test_each_of_many_jobs_gets_the_first_log_entries() -> None:
    added = jobs.enqueue_many([(echo(), {})] * 3, log=["a", "b"])
    assert [[entry.message for entry in job.log] for job in added] == [["a", "b"]] * 3


@pytest.mark.parametrize("log", [[3], [{"data": 1}], [{"message": 3}], ["a\x00"]])
def test_a_first_log_entry_that_is_none_is_refused_and_nothing_stored(log: Any) -> None:
    plain = echo()
    with pytest.raises(InvalidInputError, match="log"):
        jobs.enqueue(plain, log=log)
    assert not Job.objects.exists()
    assert not JobLog.objects.exists()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"priority": 101}, ValueError),
        ({"priority": True}, TypeError),
        ({"queue": ""}, ValueError),
        ({"queue": "a,b"}, ValueError),
        ({"queue": 3}, TypeError),
        ({"wait_until": datetime(2030, 1, 1)}, ValueError),
        ({"wait_until": "tomorrow"}, TypeError),
        ({"meta": ["a"]}, TypeError),
        ({"colour": "red"}, TypeError),
    ],
)
def test_an_option_that_is_wrong_is_refused(
    options: dict[str, Any], error: type[Exception]
) -> None:
    plain = echo()
    with pytest.raises(error):
        plain.using(**options)
    with pytest.raises(error):
        jobs.enqueue(plain, **options)
    assert not Job.objects.exists()


def test_an_unknown_slug_is_refused() -> None:
    echo()
    with pytest.raises(UnknownTaskError, match=r"'ecko'.*Did you mean 'echo'"):
        jobs.enqueue("ecko")


def test_the_signal_is_sent_for_each_new_job() -> None:
    heard: list[int] = []

    def hear(*, job: Job, **kwargs: Any) -> None:
        heard.append(job.pk)

    signals.job_enqueued.connect(hear)
    try:
        added = echo().enqueue_many([{}, {}])
    finally:
        signals.job_enqueued.disconnect(hear)
    assert heard == pks(added)


# enqueue_on_commit


@pytest.mark.django_db(transaction=True)
def test_on_commit_waits_for_the_transaction() -> None:
    plain = echo()
    with transaction.atomic():
        plain.enqueue_on_commit(value=3)
        assert not Job.objects.exists()
    assert Job.objects.get().input == {"value": 3}


@pytest.mark.django_db(transaction=True)
def test_on_commit_adds_nothing_when_the_transaction_is_rolled_back() -> None:
    plain = echo()
    with transaction.atomic():
        plain.enqueue_on_commit()
        transaction.set_rollback(True)
    assert not Job.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_on_commit_adds_the_job_at_once_outside_a_transaction() -> None:
    echo().using(queue="q").enqueue_on_commit(4)
    assert (Job.objects.get().input, Job.objects.get().queue) == ({"value": 4}, "q")


def test_on_commit_validates_at_once() -> None:
    with pytest.raises(InvalidInputError):
        echo().enqueue_on_commit(wrong=1)


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_on_commit_waits_for_the_database_that_it_is_told() -> None:
    plain = echo().using(on_commit="other")
    with transaction.atomic(using="other"):
        with transaction.atomic():
            plain.enqueue_on_commit()
        assert not Job.objects.exists()
    assert Job.objects.count() == 1


# The jobs in another database


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_every_query_goes_to_the_database_of_the_setting() -> None:
    @task(slug="keyed", concurrency=lambda input, queue: "k", unique=True, retries=1)
    def keyed(number: int) -> None:
        if number == 2:
            raise ValueError

    with (
        override_settings(DJANGO_JOBS={"DATABASE": "other"}),
        CaptureQueriesContext(connections["default"]) as elsewhere,
    ):
        first, second, third = keyed.enqueue_many([{"number": number} for number in (1, 2, 3)])
        assert keyed.enqueue(number=1).was_duplicate
        jobs.enqueue(echo(), log=["a"])
        jobs.run_by_id(first.pk)
        while not jobs.run(limit=5).no_jobs_remaining:
            pass
        assert first.log.count() == 1
        assert list(first.task_status["keyed"]) == ["1"]
        second.refresh_from_db()
        assert second.has_error
        assert second.retry()
        assert second.cancel()
        assert not third.cancel()
        assert third.wait(1).status == JobStatus.SUCCESSFUL
        jobs.pause_queue("q")
        jobs.resume_queue("q")
        assert jobs.count_runnable_or_active() == 0
        assert jobs.prune(before=timezone.now() + timedelta(days=1)) == 4
    assert elsewhere.captured_queries == []
    assert Job.objects.using("default").count() == 0


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_on_commit_enqueues_to_the_database_of_the_setting() -> None:
    plain = echo()
    with override_settings(DJANGO_JOBS={"DATABASE": "other"}):
        with transaction.atomic():
            plain.enqueue_on_commit()
            assert not Job.objects.using("other").exists()
        assert Job.objects.using("other").count() == 1
    assert not Job.objects.using("default").exists()
