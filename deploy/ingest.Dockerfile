# syntax=docker/dockerfile:1
# The ingest service. Build from the root of the repository:
#   docker build --file deploy/ingest.Dockerfile --tag isogloss-ingest .
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
RUN pip install --no-cache-dir uv==0.13.9
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /build
COPY pyproject.toml requirements.lock overrides.txt ./
# The lock is a constraint: it pins and hashes whatever this one extra asks for, nothing more.
RUN --mount=type=cache,target=/root/.cache/uv \
    uv venv /opt/isogloss && \
    uv pip install --python /opt/isogloss/bin/python --require-hashes \
        --constraint requirements.lock --override overrides.txt \
        --extra ingest --requirement pyproject.toml

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="isogloss-ingest" \
      org.opencontainers.image.description="Turns files of labelled texts into validated datasets." \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 ingest && \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin ingest && \
    install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=build /opt/isogloss /opt/isogloss
WORKDIR /app
COPY isogloss isogloss
COPY services/__init__.py services/__init__.py
COPY services/common services/common
COPY services/ingest services/ingest
ENV PATH=/opt/isogloss/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ISOGLOSS_INGEST_ADDRESS=0.0.0.0:50051 \
    ISOGLOSS_INGEST_DATA_DIRECTORY=/data
USER 10001:10001
VOLUME ["/data"]
EXPOSE 50051
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 \
    CMD ["python", "-m", "services.common.probe", "ingest"]
ENTRYPOINT ["python", "-m", "services.ingest"]
