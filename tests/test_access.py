from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.test import RequestFactory, override_settings

from django_jobs import access

SECRET = "0123456789abcdef"
VERBS = ("run", "queue", "cancel", "retry")


def request_of(user=None, **headers):
    request = RequestFactory().get("/jobs/run", headers=headers)
    if user is not None:
        request.user = user
    return request


def bearer(secret):
    return request_of(AnonymousUser(), authorization=f"Bearer {secret}")


def allow_by_header(request):
    return request.headers.get("X-Door") == "open"


@pytest.fixture
def member(db):
    """A user with the permissions named in the call."""

    def make(*codenames, **attributes):
        user = User.objects.create_user("member", **attributes)
        found = Permission.objects.filter(
            content_type__app_label="django_jobs", codename__in=codenames
        )
        assert found.count() == len(codenames)
        user.user_permissions.set(found)
        return User.objects.get(pk=user.pk)

    return make


@pytest.mark.parametrize("verb", VERBS)
def test_nobody_may_do_anything(verb):
    for request in (request_of(), request_of(AnonymousUser())):
        assert not access.is_allowed(verb, request)
        with pytest.raises(PermissionDenied, match=f"may not {verb} jobs"):
            access.require(verb, request)


@pytest.mark.parametrize("verb", VERBS)
def test_server_code_without_a_request_is_trusted(verb):
    access.require(verb, None)


@pytest.mark.parametrize(
    ("verb", "codename"),
    [("queue", "add_job"), ("cancel", "cancel_job"), ("retry", "retry_job")],
)
def test_each_verb_needs_its_own_permission(member, verb, codename):
    request = request_of(member(codename))
    assert [v for v in VERBS if access.is_allowed(v, request)] == [verb]


def test_running_needs_the_permission_and_to_be_staff(member):
    user = member("run_job")
    assert not access.is_allowed("run", request_of(user))
    user.is_staff = True
    assert access.is_allowed("run", request_of(user))


def test_staff_without_the_permission_may_not_run(member):
    assert not access.is_allowed("run", request_of(member(is_staff=True)))


@pytest.mark.parametrize("verb", VERBS)
def test_an_inactive_user_may_do_nothing(member, verb):
    user = member("run_job", "add_job", "cancel_job", "retry_job", is_staff=True, is_active=False)
    assert not access.is_allowed(verb, request_of(user))


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.django_db
def test_a_superuser_may_do_everything(verb):
    assert access.is_allowed(verb, request_of(User.objects.create_superuser("boss")))


@override_settings(DJANGO_JOBS={"CRON_SECRET": SECRET})
def test_the_secret_lets_run_and_nothing_else():
    assert [verb for verb in VERBS if access.is_allowed(verb, bearer(SECRET))] == ["run"]


@pytest.mark.parametrize(
    "header",
    [
        "Bearer 0123456789abcdeF",
        "Bearer 0123456789abcde",
        "Bearer 0123456789abcdef0",
        "Bearer ",
        "Bearer",
        "",
        "Basic 0123456789abcdef",
        "0123456789abcdef",
        "Bearer 0123456789abcdef 0123456789abcdef",
        "Bearer ä123456789abcdef",
    ],
)
@override_settings(DJANGO_JOBS={"CRON_SECRET": SECRET})
def test_what_is_not_the_secret_is_refused(header):
    assert not access.is_allowed("run", request_of(AnonymousUser(), authorization=header))


@override_settings(DJANGO_JOBS={"CRON_SECRET": SECRET})
def test_the_scheme_is_spelled_in_any_case():
    assert access.has_secret(request_of(authorization=f"bearer {SECRET}"))
    assert access.has_secret(request_of(authorization=f"BEARER {SECRET}"))


@override_settings(DJANGO_JOBS={"CRON_SECRET": "schlüssel-schlüssel"})
def test_a_secret_may_hold_any_character():
    request = request_of(authorization="Bearer schlüssel-schlüssel")
    assert access.has_secret(request)


@pytest.mark.parametrize("secret", [None, ""])
@pytest.mark.parametrize("header", ["Bearer ", "Bearer None", "Bearer", "Bearer x", ""])
def test_where_no_secret_is_set_nobody_has_it(secret, header):
    with override_settings(DJANGO_JOBS={"CRON_SECRET": secret}):
        assert not access.has_secret(request_of(authorization=header))


@override_settings(DJANGO_JOBS={"CRON_SECRET": SECRET})
def test_the_header_of_a_cron_service_alone_is_not_enough():
    request = request_of(AnonymousUser(), **{"x-vercel-cron": "1"})
    assert not access.is_allowed("run", request)


@override_settings(DJANGO_JOBS={"CRON_SECRET": SECRET})
def test_the_secret_is_compared_in_constant_time(monkeypatch):
    compared = []

    def compare(given, secret):
        compared.append((given, secret))
        return False

    monkeypatch.setattr("secrets.compare_digest", compare)
    assert not access.has_secret(bearer(SECRET))
    assert not access.has_secret(bearer("x"))
    # Each as the header may be encoded, and all of them.
    assert compared == [(SECRET.encode(), SECRET.encode())] * 2 + [(b"x", SECRET.encode())] * 2


@pytest.mark.parametrize("function", [allow_by_header, f"{__name__}.allow_by_header"])
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.django_db
def test_an_access_function_decides_alone(verb, function):
    boss = User.objects.create_superuser("boss")
    with override_settings(DJANGO_JOBS={"CRON_SECRET": SECRET, "ACCESS": {verb: function}}):
        assert access.is_allowed(verb, request_of(AnonymousUser(), **{"X-Door": "open"}))
        assert not access.is_allowed(verb, request_of(boss))
        assert not access.is_allowed(verb, bearer(SECRET))
        others = [other for other in VERBS if other != verb]
        assert all(access.is_allowed(other, request_of(boss)) for other in others)


def test_whatever_an_access_function_returns_is_taken_for_a_yes_or_no():
    for answer, expected in ((1, True), ("yes", True), (None, False), ("", False)):
        with override_settings(DJANGO_JOBS={"ACCESS": {"run": lambda request, a=answer: a}}):
            assert access.is_allowed("run", request_of()) is expected


def test_an_access_function_that_raises_lets_nobody_in():
    def broken(request):
        raise KeyError("door")

    with override_settings(DJANGO_JOBS={"ACCESS": {"run": broken}}), pytest.raises(KeyError):
        access.require("run", request_of())


@override_settings(DJANGO_JOBS={"ACCESS": {"run": True}})
def test_a_wrong_setting_lets_nobody_in():
    with pytest.raises(ImproperlyConfigured):
        access.is_allowed("run", request_of())
