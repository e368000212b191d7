from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_jobs import conf


def may(request):
    return True


# A value that each key takes, and what becomes of it.
GOOD = [
    ("CRON_SECRET", "s" * 16, "s" * 16),
    ("CRON_SECRET", None, None),
    ("ACCESS", {"run": may, "cancel": "a.b"}, {"run": may, "cancel": "a.b"}),
    ("DATABASE", "other", "other"),
    ("LEASE", 30, timedelta(seconds=30)),
    ("LEASE", 0.5, timedelta(milliseconds=500)),
    ("LEASE", timedelta(minutes=2), timedelta(minutes=2)),
    ("MAX_CRASHES", 1, 1),
    ("POLL_INTERVAL", timedelta(seconds=5), timedelta(seconds=5)),
    ("RETENTION", {"successful": 60, "failed": None}, {"successful": timedelta(minutes=1)}),
    ("DELETE_JOB_ON_COMPLETE", True, True),
    ("PROCESSING_ORDER", "-created_at", "-created_at"),
    ("PROCESSING_ORDER", {"mail": "created_at", None: None}, {"mail": "created_at", None: None}),
    ("PROCESSING_ORDER", may, may),
    ("ADD_PARENT_TO_TASK_LOG", False, False),
    ("AUTODISCOVER", False, False),
    ("AUTORUN", [{"cron": "* * * * *", "limit": 5}], ({"cron": "* * * * *", "limit": 5},)),
    ("SHOULD_AUTORUN", "a.b", "a.b"),
    ("SCHEDULING", False, False),
    ("MAX_SECONDS", 20, timedelta(seconds=20)),
    ("MAX_SECONDS", None, None),
    ("NOTIFY", False, False),
    ("UNKNOWN_TASK_GRACE", 0, timedelta(0)),
    ("MAX_INPUT_BYTES", 10, 10),
    ("REDACT", ["token"], ("token",)),
]

# A value that each key refuses, and why.
BAD = [
    ("CRON_SECRET", b"bytes", "must be a string or None"),
    ("ACCESS", may, "must be a dict"),
    ("ACCESS", {"delete": may}, "knows the keys run, queue, cancel, retry, not 'delete'"),
    ("ACCESS", {"run": True}, "must be a callable or the dotted path of one"),
    ("ACCESS", {"run": None}, "needs a callable or a dotted path for 'run'"),
    ("DATABASE", 1, "must be a string or None"),
    ("LEASE", "60", "must be a number of seconds or a timedelta"),
    ("LEASE", True, "must be a number of seconds or a timedelta"),
    ("LEASE", 0, "must be more than 0"),
    ("LEASE", timedelta(seconds=-1), "must not be negative"),
    ("MAX_CRASHES", 0, "must be at least 1"),
    ("MAX_CRASHES", 1.5, "must be an integer"),
    ("MAX_CRASHES", True, "must be an integer"),
    ("POLL_INTERVAL", None, "must be a number of seconds or a timedelta"),
    ("POLL_INTERVAL", 0, "must be more than 0"),
    ("RETENTION", 60, "must be a dict of a status and a duration"),
    ("RETENTION", {"ready": 60}, "knows the keys successful, failed, cancelled, not 'ready'"),
    ("RETENTION", {"failed": "60"}, "must be a number of seconds or a timedelta"),
    ("DELETE_JOB_ON_COMPLETE", 1, "must be True or False"),
    ("PROCESSING_ORDER", 3, "must be an ordering string"),
    ("PROCESSING_ORDER", {"mail": 3}, "must be an ordering string"),
    ("ADD_PARENT_TO_TASK_LOG", "no", "must be True or False"),
    ("AUTODISCOVER", None, "must be True or False"),
    ("AUTORUN", {"cron": "* * * * *"}, "must be a list of dicts"),
    ("AUTORUN", 3, "must be a list"),
    ("AUTORUN", ["* * * * *"], "must be a list of dicts that each have a 'cron'"),
    ("AUTORUN", [{"queue": "mail"}], "must be a list of dicts that each have a 'cron'"),
    ("AUTORUN", [{"cron": "* * * * *", "often": True}], "not 'often'"),
    ("AUTORUN", [{"cron": "* * * * *", "limit": "5"}], "needs a int for 'limit'"),
    ("SHOULD_AUTORUN", False, "must be a callable or the dotted path of one"),
    ("SCHEDULING", 0, "must be True or False"),
    ("MAX_SECONDS", "20", "must be a number of seconds or a timedelta"),
    ("NOTIFY", "yes", "must be True or False"),
    ("UNKNOWN_TASK_GRACE", -1, "must not be negative"),
    ("MAX_INPUT_BYTES", "1 MB", "must be an integer"),
    ("MAX_INPUT_BYTES", 0, "must be at least 1"),
    ("REDACT", "token", "must be a list of field names"),
    ("REDACT", [1], "must be a list of field names"),
    ("REDACT", None, "must be a list"),
]


@pytest.mark.parametrize(("key", "value", "expected"), GOOD)
def test_a_value_is_taken(key, value, expected):
    settings, problems = conf.read({key: value})
    assert problems == []
    assert getattr(settings, key) == expected


@pytest.mark.parametrize(("key", "value", "reason"), BAD)
def test_a_wrong_value_is_a_problem_and_leaves_the_default(key, value, reason):
    settings, (problem,) = conf.read({key: value})
    assert problem.key == key
    assert problem.message.startswith(f"DJANGO_JOBS[{key!r}] ")
    assert reason in problem.message
    assert getattr(settings, key) == getattr(conf.Settings(), key)


def test_every_key_has_a_good_and_a_bad_value_here():
    keys = set(conf.Settings.__dataclass_fields__)
    assert {key for key, *_ in GOOD} == keys
    assert {key for key, *_ in BAD} == keys


@pytest.mark.parametrize(
    ("key", "suggestion"),
    [("LEAS", "LEASE"), ("redact", "REDACT"), ("CRON_SECRETE", "CRON_SECRET")],
)
def test_an_unknown_key_names_the_nearest_known_one(key, suggestion):
    _settings, (problem,) = conf.read({key: 1})
    assert problem.message == (
        f"DJANGO_JOBS has the unknown key {key!r}. Did you mean {suggestion!r}?"
    )


def test_an_unknown_key_like_no_other_lists_all():
    _settings, (problem,) = conf.read({"XYZ": 1})
    assert "It knows CRON_SECRET, ACCESS, DATABASE" in problem.message


def test_all_problems_are_found_at_once():
    settings, problems = conf.read({"LEASE": "x", "MAX_CRASHES": 0, "SCHEDULING": False, 3: 4})
    assert [problem.key for problem in problems] == ["LEASE", "MAX_CRASHES", "3"]
    assert settings.SCHEDULING is False


@pytest.mark.parametrize("raw", [None, [], "x"])
def test_the_setting_itself_must_be_a_dict(raw):
    settings, (problem,) = conf.read(raw)
    assert problem.message == "DJANGO_JOBS must be a dict."
    assert settings == conf.Settings()


def test_overriding_the_setting_takes_effect_and_ends():
    assert conf.get().MAX_CRASHES == 3
    with override_settings(DJANGO_JOBS={"MAX_CRASHES": 7}):
        assert conf.get().MAX_CRASHES == 7
        with override_settings(DJANGO_JOBS={}):
            assert conf.get().MAX_CRASHES == 3
        assert conf.get().MAX_CRASHES == 7
    assert conf.get().MAX_CRASHES == 3


def test_other_settings_leave_it_alone():
    before = conf.get()
    with override_settings(DEBUG=True):
        assert conf.get() is before


@override_settings(DJANGO_JOBS={"LEASE": "x", "LEESE": 1})
def test_wrong_settings_raise_with_every_reason_where_they_are_needed():
    with pytest.raises(ImproperlyConfigured, match=r"'LEASE'\] must be .* Did you mean 'LEASE'"):
        conf.get()


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        (None, False),
        ("nonsense", False),
        ({"default": "nonsense"}, False),
        ({"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}}, False),
        ({"jobs": {"BACKEND": "django_jobs.tasks_backend.JobsBackend"}}, True),
    ],
)
def test_the_backend_for_djangos_tasks_is_noticed_in_any_setting(monkeypatch, tasks, expected):
    monkeypatch.setattr(conf, "django_settings", SimpleNamespace(TASKS=tasks))
    assert conf.names_task_backend() is expected
