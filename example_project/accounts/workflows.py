from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.db import transaction
from django.template.loader import render_to_string

from accounts.models import Profile, Subscription
from django_jobs import JobContext, Retry, task, workflow


@task(slug="create-profile")
def create_profile(user_id: int) -> dict[str, str]:
    user = User.objects.get(pk=user_id)
    profile, _ = Profile.objects.get_or_create(
        user=user, defaults={"display_name": user.get_full_name() or user.username}
    )
    return {"display_name": profile.display_name}


@task(
    slug="send-welcome-email",
    retries=Retry(attempts=3, delay=1, backoff="exponential", retry_on=OSError),
    takes_context=True,
)
def send_welcome_email(ctx: JobContext, user_id: int, display_name: str) -> dict[str, str]:
    """Send the mail; a crash just after sending sends it again, the lesser evil of the two."""
    user = User.objects.get(pk=user_id)
    if settings.FLAKY_MAIL_SERVER and ctx.attempt == 1:
        raise ConnectionRefusedError(
            "The mail server is busy (simulated: it fails on a first try)."
        )
    EmailMessage(
        subject=f"Welcome, {display_name}",
        body=render_to_string("accounts/welcome.txt", {"display_name": display_name}),
        to=[user.email],
    ).send()
    return {"sent_to": user.email}


@task(slug="add-to-list")
def add_to_list(user_id: int, mailing_list: str) -> None:
    Subscription.objects.get_or_create(user_id=user_id, mailing_list=mailing_list)


# Somebody waits for this mail, nobody for a thumbnail: it goes first.
@workflow(slug="onboard-user", label="Onboard a user", priority=10)
def onboard_user(ctx: JobContext, user_id: int) -> dict[str, str]:
    """Set up a new user. After a failed step the finished ones are not run again."""
    profile = ctx.run("profile", create_profile, user_id=user_id)
    mail = ctx.run(
        "welcome", send_welcome_email, user_id=user_id, display_name=profile["display_name"]
    )
    ctx.run("newsletter", add_to_list, user_id=user_id, mailing_list="newsletter")
    return {"display_name": profile["display_name"], "sent_to": mail["sent_to"]}


@transaction.atomic
def sign_up(username: str, email: str, first_name: str, last_name: str) -> User:
    """Create a user who cannot log in yet, and queue the rest in the same transaction."""
    user = User.objects.create_user(username, email, first_name=first_name, last_name=last_name)
    onboard_user.enqueue(user_id=user.pk)
    return user
