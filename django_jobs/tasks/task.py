"""Task and Workflow: what an application declares, and how it is called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, Self, TypeVar

from asgiref.sync import sync_to_async
from django.utils.functional import Promise
from django.utils.module_loading import import_string

from django_jobs.tasks.options import Concurrency
from django_jobs.tasks.retry import Retry
from django_jobs.tasks.schedule import Schedule
from django_jobs.tasks.schema import InputSchema, OutputSchema

if TYPE_CHECKING:
    from django_jobs.models import Job
    from django_jobs.tasks.enqueue import Options

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(eq=False)
class Declaration(Generic[P, R]):
    """A function that jobs can run, with all its options settled.

    Calling it runs the function directly, in process, with no job.
    """

    kind: ClassVar[str]
    # A template that names it, to show its label, must not run it.
    do_not_call_in_templates: ClassVar[bool] = True

    slug: str
    _: KW_ONLY
    handler: Callable[..., R] | str
    label: str | Promise
    # Where it is declared, for messages.
    place: str
    input_schema: InputSchema
    output_schema: OutputSchema | None = None
    queue: str = "default"
    priority: int = 0
    retries: Retry | None = None
    concurrency: Concurrency | None = None
    schedule: tuple[Schedule, ...] = ()
    takes_context: bool = False
    unique: Callable[[dict[str, Any]], str | None] | bool | None = None
    timeout: timedelta | None = None
    atomic: bool = False
    on_success: Callable[[Any], Any] | None = None
    on_fail: Callable[[Any], Any] | None = None

    # Any arguments: `P` leaves the context out, which a direct call has to give.
    def __call__(self, *args: Any, **kwargs: Any) -> R:
        return self.function(*args, **kwargs)

    def __str__(self) -> str:
        return self.slug

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.slug!r}>"

    @property
    def function(self) -> Callable[..., R]:
        """The handler, imported where it is declared by its path."""
        if isinstance(self.handler, str):
            function: Callable[..., R] = import_string(self.handler)
            return function
        return self.handler

    def using(self, **options: Any) -> Call[P, R]:
        """Return a call with other options.

        These are queue, priority, wait_until, retries, meta and on_commit.
        """
        return Call(self).using(**options)

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job:
        """Add a job that runs the function with these arguments.

        Raises InvalidInputError naming every argument that is wrong.
        """
        return Call(self).enqueue(*args, **kwargs)

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job:
        """See enqueue()."""
        return await sync_to_async(self.enqueue)(*args, **kwargs)

    def enqueue_many(self, inputs: Iterable[Mapping[str, Any]]) -> list[Job]:
        """Add a job for each dict of arguments, with one bulk insert per batch.

        Nothing is added where one of them is invalid.
        """
        return Call(self).enqueue_many(inputs)

    async def aenqueue_many(self, inputs: Iterable[Mapping[str, Any]]) -> list[Job]:
        """See enqueue_many()."""
        return await sync_to_async(self.enqueue_many)(inputs)

    def enqueue_on_commit(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Add the job when the transaction of the database `default` commits.

        For jobs that live in another database than the data; `using(on_commit=)` names
        another database to wait for. The arguments are validated at once.
        """
        Call(self).enqueue_on_commit(*args, **kwargs)


class Task(Declaration[P, R]):
    """A function that runs as a job of its own or as a step of a workflow."""

    kind = "task"


class Workflow(Declaration[P, R]):
    """A function whose steps are durable: those that succeeded do not run again."""

    kind = "workflow"


def _no_options() -> Options:
    from django_jobs.tasks.enqueue import Options

    return Options()


@dataclass(frozen=True, eq=False)
class Call(Generic[P, R]):
    """A declaration together with the options of one call."""

    do_not_call_in_templates: ClassVar[bool] = True

    declaration: Declaration[P, R]
    options: Options = field(default_factory=_no_options)

    @property
    def slug(self) -> str:
        return self.declaration.slug

    def __call__(self, *args: Any, **kwargs: Any) -> R:
        return self.declaration(*args, **kwargs)

    def using(self, **options: Any) -> Self:
        """See Declaration.using()."""
        return replace(self, options=self.options.merged(**options))

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job:
        """See Declaration.enqueue()."""
        from django_jobs.tasks.enqueue import enqueue

        given = self.declaration.input_schema.bind(args, kwargs)
        return enqueue([(self.declaration, given, self.options)])[0]

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job:
        """See Declaration.enqueue()."""
        return await sync_to_async(self.enqueue)(*args, **kwargs)

    def enqueue_many(self, inputs: Iterable[Mapping[str, Any]]) -> list[Job]:
        """See Declaration.enqueue_many()."""
        from django_jobs.tasks.enqueue import enqueue

        return enqueue((self.declaration, given, self.options) for given in inputs)

    async def aenqueue_many(self, inputs: Iterable[Mapping[str, Any]]) -> list[Job]:
        """See Declaration.enqueue_many()."""
        return await sync_to_async(self.enqueue_many)(inputs)

    def enqueue_on_commit(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """See Declaration.enqueue_on_commit()."""
        from django_jobs.tasks.enqueue import enqueue_on_commit

        given = self.declaration.input_schema.bind(args, kwargs)
        enqueue_on_commit(self.declaration, given, self.options)
