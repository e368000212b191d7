"""Forms for the input of a task: what its schema asks for, one field each.

What was not changed stays as it is stored, in full precision, and what REDACT hides stays
hidden: it is asked for in fields that begin empty, and kept where they are left so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import new_class
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.utils.translation import gettext_lazy as _

from django_jobs import conf
from django_jobs.admin.formfields import JSONInput, OneOf, field_for
from django_jobs.describe import HIDDEN, redacted
from django_jobs.exceptions import InvalidInputError
from django_jobs.tasks.schema.base import NO_DEFAULT, InputField, InputSchema
from django_jobs.tasks.schema.forms import FormSchema
from django_jobs.tasks.task import Declaration

# The field for what no other field is for; no parameter can have this name.
REST = "**"
FORGOTTEN = _("Write anew what is hidden here: it cannot be told what it was.")
KEPT = _("Leave it empty to keep the stored value.")
TEMPORAL = (forms.DateTimeField, forms.DateField, forms.TimeField, forms.DurationField)
BLANK = (None, "")


class InputForm(forms.Form):
    """A form for the input of a task; make one with input_form().

    When it is valid, `given` is what to enqueue the task with, and `input` the same as it
    would be stored.
    """

    prefix = "input"
    required_css_class = "required"
    schema: ClassVar[InputSchema]
    stored: ClassVar[Mapping[str, Any]] = {}

    given: dict[str, Any]
    input: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            if name in conf.get().REDACT:
                _hide(field)
                self.initial.pop(name, None)
                field.initial = None
            elif name in self._stored:
                self.initial[name] = _shown(field, self._stored[name])
            if name in self._stored and not self.initial.get(name):
                field.required = False
                if name in conf.get().REDACT:
                    field.help_text = KEPT

    def clean(self) -> dict[str, Any]:
        """Ask the task's own schema, and put each complaint to its field."""
        answers = dict(self._answers())
        for name, answer in answers.items():
            if _is_hidden_in(answer):
                self.add_error(name, FORGOTTEN)
        self.given = dict(self._given(answers))
        try:
            self.input = self.schema.validate(self.given)
        except InvalidInputError as error:
            self._complain(error)
        return self.cleaned_data

    @property
    def _stored(self) -> dict[str, Any]:
        """The stored values by the names of the form's fields."""
        stored = {name: value for name, value in self.stored.items() if name in self.fields}
        if REST in self.fields:
            stored[REST] = {
                name: value for name, value in self.stored.items() if name not in self.fields
            }
        return stored

    def _given(self, answers: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, value in answers.items():
            if name == REST:
                yield from (value or {}).items()
            else:
                yield self._given_as(name), value

    def _answers(self) -> Iterator[tuple[str, Any]]:
        for name, field in self.fields.items():
            if name in self._stored and name not in self.changed_data:
                yield name, self._stored[name]
            elif name in self.errors or (not field.required and self._is_untouched(name)):
                continue
            elif (answer := self.answer(name, field)) not in BLANK:
                yield name, answer

    def _is_untouched(self, name: str) -> bool:
        """Whether the field shows the default, which is the task's own to fill in."""
        asked = self._asked.get(name)
        return name not in self.changed_data and not (asked and asked.required)

    def answer(self, name: str, field: forms.Field) -> Any:
        """Return what was filled in, with what was shown hidden put back."""
        answer = self.cleaned_data.get(name)
        if isinstance(field, forms.JSONField) and name in self._stored:
            return _with_secrets(answer, self._stored[name])
        return answer

    @property
    def _asked(self) -> dict[str, InputField]:
        return {field.name: field for field in self.schema.fields}

    def _given_as(self, name: str) -> str:
        asked = self._asked.get(name)
        return asked.given_as if asked else name

    def _complain(self, error: InvalidInputError) -> None:
        wrong = set(self.errors)
        for place, messages in (error.errors or {NON_FIELD_ERRORS: [str(error)]}).items():
            name, inner = self._field_at(place)
            # A complaint about the whole may only repeat what a field says already.
            if name not in wrong and not (name is None and wrong):
                shown = [f"{inner}: {message}" if inner else message for message in messages]
                self.add_error(name, shown)

    def _field_at(self, place: str) -> tuple[str | None, str]:
        """Return the field that a schema's complaint is about, and which part of it."""
        if place == NON_FIELD_ERRORS:
            return None, ""
        named = {self._given_as(name): name for name in self.fields}
        top, _dot, inner = place.partition(".")
        for whole, part in ((place, ""), (top, inner)):
            if whole in named:
                return named[whole], part
        return (REST if REST in self.fields else None), place


class GivenForm(InputForm):
    """For a task whose schema is a form: that form's fields, sent to it as they come."""

    def clean(self) -> dict[str, Any]:
        # The schema cleans them, with the values that are kept.
        self.errors.clear()
        return super().clean()

    def _is_untouched(self, name: str) -> bool:
        return False

    def answer(self, name: str, field: forms.Field) -> Any:
        if isinstance(field, forms.JSONField):
            return super().answer(name, field)
        answer = field.widget.value_from_datadict(self.data, self.files, self.add_prefix(name))
        return answer if answer != [] else None


def input_form(
    declaration: Declaration[Any, Any], stored: Mapping[str, Any] | None = None
) -> type[InputForm]:
    """Return the form class for the input of a task, filled in with a stored input."""
    schema = declaration.input_schema
    made: Any
    if isinstance(schema, FormSchema):
        made = new_class("TaskInputForm", (GivenForm, schema.form))
    else:
        fields = _fields(schema)
        made = new_class("TaskInputForm", (InputForm,), exec_body=lambda body: body.update(fields))
    # Not among the attributes above, where a field may have the same name.
    made.schema, made.stored = schema, stored or {}
    form: type[InputForm] = made
    return form


def _fields(schema: InputSchema) -> dict[str, forms.Field]:
    fields = {asked.name: _field(asked) for asked in schema.fields}
    if schema.takes_more:
        label = _("Further arguments") if fields else _("Arguments")
        fields[REST] = JSONInput(required=False, label=label, help_text=_("A JSON object."))
    return fields


def _field(asked: InputField) -> forms.Field:
    field = field_for(asked.annotation, required=asked.required)
    if asked.name in conf.get().REDACT and isinstance(field, forms.BooleanField):
        # A box could not tell whether it was left alone.
        field = field_for(bool | None, required=asked.required)
    if asked.default is not NO_DEFAULT:
        field.initial = asked.default
    field.label = asked.label or None
    field.help_text = asked.help_text or field.help_text
    return field


def _hide(field: forms.Field) -> None:
    if not isinstance(field, forms.ChoiceField):
        field.widget = forms.PasswordInput(attrs={"autocomplete": "new-password"})


def _shown(field: forms.Field, value: Any) -> Any:
    """Return a stored value as the field begins with."""
    if isinstance(field, TEMPORAL):
        try:
            return field.to_python(value)
        except ValidationError:
            return value
    return value if isinstance(field, OneOf) else redacted(value)


def _with_secrets(edited: Any, stored: Any) -> Any:
    """Return what was edited, with the stored value wherever one was shown hidden."""
    if isinstance(edited, Mapping):
        old = stored if isinstance(stored, Mapping) else {}
        return {name: _part(name, value, old) for name, value in edited.items()}
    if isinstance(edited, list):
        old_items = list(stored) if isinstance(stored, list) else []
        return [_item(value, old_items) for value in edited]
    return edited


def _part(name: str, value: Any, old: Mapping[str, Any]) -> Any:
    if name in conf.get().REDACT and value == HIDDEN and name in old:
        return old[name]
    return _with_secrets(value, old.get(name))


def _item(value: Any, left: list[Any]) -> Any:
    """Return the first of the items left that was shown like this one, else the edited one."""
    for index, item in enumerate(left):
        if redacted(item) == value:
            return left.pop(index)
    return _with_secrets(value, None)


def _is_hidden_in(value: Any) -> bool:
    """Whether what was shown for a secret would be taken for it."""
    if isinstance(value, Mapping):
        names = conf.get().REDACT
        return any(
            (name in names and part == HIDDEN) or _is_hidden_in(part)
            for name, part in value.items()
        )
    return isinstance(value, list) and any(_is_hidden_in(item) for item in value)
