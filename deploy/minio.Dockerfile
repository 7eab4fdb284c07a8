# syntax=docker/dockerfile:1
# MinIO's community server is published as source only: this builds the commit that the tests
# run against. The linker takes 2 GB of memory.
FROM golang:1.26-alpine AS build
ARG VERSION=v0.0.0-20260212201848-7aac2a2c5b7c
ENV CGO_ENABLED=0 \
    GOFLAGS=-trimpath
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    go install -ldflags="-s -w" "github.com/minio/minio@${VERSION}"

FROM alpine:3.22
LABEL org.opencontainers.image.title="isogloss-minio" \
      org.opencontainers.image.description="MinIO, built from its last published source." \
      org.opencontainers.image.licenses="AGPL-3.0-only"
RUN addgroup -g 10004 minio && \
    adduser -u 10004 -G minio -D -H -h /data -s /sbin/nologin minio && \
    install -d -o minio -g minio -m 0700 /data
COPY --from=build /go/bin/minio /usr/local/bin/minio
ENV HOME=/tmp \
    MINIO_BROWSER=off \
    MINIO_UPDATE=off
USER 10004:10004
VOLUME ["/data"]
EXPOSE 9000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=5 \
    CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:9000/minio/health/ready"]
ENTRYPOINT ["minio"]
CMD ["server", "/data"]
