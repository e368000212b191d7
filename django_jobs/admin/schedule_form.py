"""The form of a schedule: a registered task, when, and an input that the task accepts."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from django_jobs.admin.cron import Outlook, outlook
from django_jobs.admin.inputs import InputForm, input_form
from django_jobs.models import JobSchedule
from django_jobs.tasks import registry
from django_jobs.tasks.bounds import check_queue
from django_jobs.tasks.schedule import cron_problems, zone_problems

# The name of the button that shows the times without saving.
PREVIEW = "_preview"


def registered() -> list[tuple[str, str]]:
    return [(declaration.slug, str(declaration.label)) for declaration in registry.every()]


class ScheduleForm(forms.ModelForm):  # type: ignore[type-arg]
    """A schedule, and within it as `inputs` the form that its task asks for."""

    # Chosen on the page before this one, since the form depends on it.
    slug = forms.ChoiceField(
        label=_("task or workflow"), choices=registered, widget=forms.HiddenInput
    )

    class Meta:
        model = JobSchedule
        fields = ("slug", "cron", "queue", "timezone", "enabled")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.inputs = self._input_form()

    def _input_form(self) -> InputForm | None:
        """Return the form for the input; None where the code says it, or the task is gone."""
        schedule = self.instance
        slug = schedule.slug or self.data.get("slug") or self.initial.get("slug")
        declaration = registry.find(str(slug))
        if schedule.is_declared or declaration is None:
            return None
        form = input_form(declaration, schedule.input if schedule.pk else None)
        return form(self.data if self.is_bound else None)

    @property
    def outlook(self) -> Outlook | None:
        """When the schedule would be due with what the form says."""
        said = getattr(self, "cleaned_data", {}) if self.is_bound else self.initial
        cron = said.get("cron") or ("" if self.is_bound else self.instance.cron)
        return outlook(cron, said.get("timezone", self.instance.timezone)) if cron else None

    @property
    def is_preview(self) -> bool:
        return PREVIEW in self.data

    def is_valid(self) -> bool:
        """Whether it is to be saved."""
        return super().is_valid() and not self.is_preview

    def clean_cron(self) -> str:
        return _without(cron_problems(self.cleaned_data["cron"]), self.cleaned_data["cron"])

    def clean_timezone(self) -> str:
        zone = self.cleaned_data["timezone"]
        return _without(zone_problems(zone or None), zone)

    def clean_queue(self) -> str:
        queue: str = self.cleaned_data["queue"]
        try:
            check_queue(queue)
        except ValueError as error:
            raise ValidationError(str(error)) from error
        return queue

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if self.inputs is not None:
            if self.inputs.is_valid():
                self.instance.input = self.inputs.input
            else:
                self.add_error(None, _("The task does not accept this input, see below."))
        return given

    @property
    def changed_columns(self) -> list[str]:
        """The columns to write: what nobody touched may have been changed by a worker."""
        inputs = ["input"] if self.inputs is not None and self.inputs.has_changed() else []
        return [*self.changed_data, *inputs]


def _without(problems: list[str], value: str) -> str:
    if problems:
        raise ValidationError(problems)
    return value
