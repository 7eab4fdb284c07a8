# syntax=docker/dockerfile:1
# The inference service. Build from the root of the repository:
#   docker build --file deploy/inference.Dockerfile --tag isogloss-inference .
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
RUN pip install --no-cache-dir uv==0.13.9
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never
# inference-gpu adds the CUDA libraries, about 3 GB.
ARG EXTRA=inference
WORKDIR /build
COPY pyproject.toml requirements.lock overrides.txt ./
# The lock is a constraint: it pins and hashes whatever this one extra asks for, nothing more.
RUN --mount=type=cache,target=/root/.cache/uv \
    uv venv /opt/isogloss && \
    uv pip install --python /opt/isogloss/bin/python --require-hashes \
        --constraint requirements.lock --override overrides.txt \
        --extra ${EXTRA} --requirement pyproject.toml

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="isogloss-inference" \
      org.opencontainers.image.description="Computes vectors and labels of texts." \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10003 inference && \
    useradd --uid 10003 --gid 10003 --no-create-home --home-dir /data --shell /usr/sbin/nologin inference && \
    install --directory --owner=10003 --group=10003 --mode=0700 /data
COPY --from=build /opt/isogloss /opt/isogloss
WORKDIR /app
COPY isogloss isogloss
COPY services/__init__.py services/__init__.py
COPY services/common services/common
COPY services/inference services/inference
ENV PATH=/opt/isogloss/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ISOGLOSS_INFERENCE_ADDRESS=0.0.0.0:50053 \
    ISOGLOSS_INFERENCE_DATA_DIRECTORY=/data
USER 10003:10003
VOLUME ["/data"]
EXPOSE 50053
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 \
    CMD ["python", "-m", "services.common.probe", "inference"]
ENTRYPOINT ["python", "-m", "services.inference"]
