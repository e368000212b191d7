# The example project: one image for the web server, the workers and the migrations.
#
#   docker build --tag example .
#   docker run --publish 8000:8000 example
#   docker run example python manage.py runjobs --all-queues
#
# docs/deployment/compose.yaml puts them together with PostgreSQL.

FROM python:3.13-slim AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1

# Without pip, which the image does not need; the one of the base image installs into it.
RUN python -m venv --without-pip /venv
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY django_jobs ./django_jobs
# The project itself has no version to pin.
# hadolint ignore=DL3013
RUN pip --python /venv/bin/python install ".[example,metrics,postgres]" gunicorn==27.0.1


FROM python:3.13-slim

ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    EXAMPLE_VAR=/var/lib/example

RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin example \
    && install --directory --owner=example "$EXAMPLE_VAR"
COPY --from=build /venv /venv
COPY example_project /app
RUN python -m compileall -q /app

WORKDIR /app
USER 10001
VOLUME /var/lib/example
EXPOSE 8000

# Of the web server. A worker that cannot go on ends, and is to be started again.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/jobs/health', timeout=4)"]

# The kernel's memory, since a heartbeat on a disk can make a worker look dead.
CMD ["gunicorn", "--bind=0.0.0.0:8000", "--workers=2", "--threads=4", "--worker-tmp-dir=/dev/shm", "config.wsgi"]
