# syntax=docker/dockerfile:1
# The trainer service. Build from the root of the repository:
#   docker build --file deploy/trainer.Dockerfile --tag isogloss-trainer .
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
RUN pip install --no-cache-dir uv==0.13.9
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never
# trainer-ray adds Ray, for runs on several machines.
ARG EXTRA=trainer
WORKDIR /build
COPY pyproject.toml requirements.lock overrides.txt ./
# The lock is a constraint: it pins and hashes whatever this one extra asks for, nothing more.
RUN --mount=type=cache,target=/root/.cache/uv \
    uv venv /opt/isogloss && \
    uv pip install --python /opt/isogloss/bin/python --require-hashes \
        --constraint requirements.lock --override overrides.txt \
        --extra ${EXTRA} --requirement pyproject.toml

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="isogloss-trainer" \
      org.opencontainers.image.description="Turns datasets into published models." \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10002 trainer && \
    useradd --uid 10002 --gid 10002 --no-create-home --home-dir /data --shell /usr/sbin/nologin trainer && \
    install --directory --owner=10002 --group=10002 --mode=0700 /data
COPY --from=build /opt/isogloss /opt/isogloss
WORKDIR /app
COPY isogloss isogloss
COPY services/__init__.py services/__init__.py
COPY services/common services/common
COPY services/trainer services/trainer
ENV PATH=/opt/isogloss/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ISOGLOSS_TRAINER_ADDRESS=0.0.0.0:50052 \
    ISOGLOSS_TRAINER_DATA_DIRECTORY=/data
USER 10002:10002
VOLUME ["/data"]
EXPOSE 50052
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 \
    CMD ["python", "-m", "services.common.probe", "trainer"]
ENTRYPOINT ["python", "-m", "services.trainer"]
