"""Whatever is sent: the answer names what is wrong, says no value, and is never a 500."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from django.test.client import MULTIPART_CONTENT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.http.conftest import SECRET

pytestmark = pytest.mark.django_db

HOSTILE = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NAMES = [
    "queue", "limit", "all_queues", "allQueues", "disable_scheduling", "disableScheduling",
    "max_seconds", "maxSeconds", "other",
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "-1"), ("limit", "1.5"), ("limit", "many"), ("limit", ""), ("limit", "10001"),
        ("limit", "1" * 5000), ("limit", "٣"), ("limit", "1e3"), ("limit", " 1"),
        ("max_seconds", "-1"), ("max_seconds", "-0.5"), ("max_seconds", "nan"),
        ("max_seconds", "inf"), ("max_seconds", "soon"), ("max_seconds", "1e999"),
        ("all_queues", "maybe"), ("disable_scheduling", "2"),
        ("queue", ""), ("queue", "x" * 256), ("queue", "a\x00b"), ("queue", "a,b"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("by", ["get", "post"])
def test_a_bad_parameter_is_named_and_its_value_is_not_said(
    name: str, value: str, by: str, cron: Client
) -> None:
    answer = getattr(cron, by)("/jobs/run", {name: value})
    assert answer.status_code == 400
    content = answer.json()
    assert content["success"] is False
    assert list(content["parameters"]) == [name]
    if len(value) > 3:
        assert value not in answer.content.decode()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", True), ("limit", None), ("limit", [1]), ("limit", {}), ("limit", -1),
        ("limit", 2.0), ("max_seconds", True), ("max_seconds", None), ("max_seconds", "x"),
        ("all_queues", 2), ("all_queues", None), ("all_queues", []), ("queue", 5),
        ("queue", None), ("queue", ["a"]), ("queue", "\ud800"), ("max_seconds", 10**400),
    ],
)  # fmt: skip
def test_a_bad_value_in_json_is_named(name: str, value: Any, cron: Client) -> None:
    answer = cron.post("/jobs/run", json.dumps({name: value}), content_type="application/json")
    assert answer.status_code == 400
    assert list(answer.json()["parameters"]) == [name]


def test_every_bad_parameter_is_named(cron: Client) -> None:
    values = {"limit": "-1", "maxSeconds": "-2", "allQueues": "perhaps", "queue": ""}
    answer = cron.get("/jobs/run", values)
    assert answer.status_code == 400
    assert set(answer.json()["parameters"]) == {"limit", "max_seconds", "all_queues", "queue"}


def test_bad_parameters_of_handle_schedules_are_named(cron: Client) -> None:
    answer = cron.get("/jobs/handle-schedules?queue=a,b&allQueues=perhaps")
    assert answer.status_code == 400
    assert set(answer.json()["parameters"]) == {"queue", "all_queues"}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"5", "application/json"),
        (b"null", "application/json"),
        (b'"text"', "application/json"),
        (b"\xff\xfe\xff", "application/json"),
        (b'{"limit": ' + b"9" * 5000 + b"}", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"limit":' + b"[" * 900 + b"]" * 900 + b"}", "application/json"),
        (b" " * 3_000_000, "application/json"),
        (b"&".join(b"a%d=1" % n for n in range(1500)), "application/x-www-form-urlencoded"),
        (b"a=" + b"x" * 3_000_000, "application/x-www-form-urlencoded"),
        (b"limit=5", "application/x-www-form-urlencoded; charset=utf-16"),
        (b"broken", "multipart/form-data"),
        (b"broken", "multipart/form-data; boundary="),
        (b"broken", "multipart/form-data; boundary=\xe4"),
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_read_is_a_bad_request(
    body: bytes, content_type: str, cron: Client
) -> None:
    answer = cron.generic("POST", "/jobs/run", body, content_type=content_type)
    assert answer.status_code == 400
    assert list(answer.json()["parameters"]) in (["body"], ["limit"])


def test_a_query_with_too_many_fields_is_a_bad_request(cron: Client) -> None:
    answer = cron.get("/jobs/run?" + "&".join(f"a{n}=1" for n in range(1500)))
    assert answer.status_code == 400
    assert list(answer.json()["parameters"]) == ["query"]


def test_a_body_that_cannot_be_read_is_no_500_for_session_users(people: Any) -> None:
    client = people.operator(enforce_csrf_checks=True)
    client.cookies["csrftoken"] = "a" * 32
    body = b"&".join(b"a%d=1" % n for n in range(1500))
    form = "application/x-www-form-urlencoded"
    assert client.generic("POST", "/jobs/run", body, content_type=form).status_code == 400


def test_a_body_of_another_type_says_nothing(cron: Client) -> None:
    assert cron.post("/jobs/run", b"limit=-1", content_type="text/plain").status_code == 200


def check(answer: Any) -> None:
    """Check that the answer is none of a broken server, and tells nobody the secret."""
    assert answer.status_code in (200, 400), answer.content
    content = json.loads(answer.content)
    assert content["success"] is (answer.status_code == 200)
    if answer.status_code == 400:
        assert content["parameters"]
        assert set(content["parameters"]) <= {*NAMES, "body", "query"}
    assert SECRET.encode() not in answer.content


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
routes = st.sampled_from(["/jobs/run", "/jobs/handle-schedules"])


@HOSTILE
@given(route=routes, values=st.dictionaries(st.sampled_from(NAMES), st.text(max_size=40)))
def test_no_query_is_a_500(cron: Client, route: str, values: dict[str, str]) -> None:
    encodable = {name: value.encode(errors="replace").decode() for name, value in values.items()}
    check(cron.get(route, encodable))
    check(cron.post(route, encodable))


@HOSTILE
@given(route=routes, raw=st.binary(max_size=200))
def test_no_bytes_of_a_query_or_a_form_are_a_500(cron: Client, route: str, raw: bytes) -> None:
    check(cron.get(route, QUERY_STRING=raw.decode("latin-1")))
    check(cron.generic("POST", route, raw, content_type="application/x-www-form-urlencoded"))


@HOSTILE
@given(route=routes, values=st.dictionaries(st.sampled_from(NAMES), anything))
def test_no_json_object_is_a_500(cron: Client, route: str, values: dict[str, Any]) -> None:
    check(cron.post(route, json.dumps(values), content_type="application/json"))


@HOSTILE
@given(route=routes, body=st.one_of(st.binary(max_size=200), anything.map(json.dumps)))
def test_no_body_is_a_500(cron: Client, route: str, body: Any) -> None:
    check(cron.generic("POST", route, body, content_type="application/json"))
    check(cron.generic("POST", route, body, content_type=MULTIPART_CONTENT))


# Django itself, before any view, refuses to build a request with some of the charsets.
content_types = st.text(
    st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=60
).filter(lambda text: "charset" not in text.lower())


@HOSTILE
@given(content_type=content_types, query=st.binary(max_size=30))
def test_no_content_type_is_a_500(cron: Client, content_type: str, query: bytes) -> None:
    answer = cron.generic(
        "POST", "/jobs/run", b"limit=%31", content_type, QUERY_STRING=query.decode("latin-1")
    )
    check(answer)


@HOSTILE
@given(header=st.text(max_size=60))
def test_no_authorization_header_is_a_500(header: str) -> None:
    for value in (header, f"Bearer {header}"):
        answer = Client().get("/jobs/run", headers={"authorization": value})
        assert answer.status_code == 401
