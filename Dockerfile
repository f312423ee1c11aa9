# syntax=docker/dockerfile:1
# One image for every machine: the server, the command line, a witness.
#
#   docker build -t federation-core:0.1.0 .
#
# A tag can be moved. For a build that can be repeated, and that is what it was checked as, name the base
# by its digest: --build-arg PYTHON=python:3.12-slim@sha256:…
ARG PYTHON=python:3.12-slim

FROM ${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# Without pip of its own: what runs installs nothing.
RUN python -m venv --without-pip /opt/fedcore
COPY constraints.txt pyproject.toml README.md ./
COPY src ./src
# Wheels only, so neither stage needs a compiler and nothing that is fetched runs here.
RUN python -m pip --python /opt/fedcore/bin/python install --only-binary=:all: \
    --constraint constraints.txt '.[restate,otel]'

FROM ${PYTHON}
LABEL org.opencontainers.image.title="Federation Core" \
      org.opencontainers.image.description="Governed workflows with a ledger that answers for them."
RUN groupadd --gid 10001 fedcore \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/fedcore \
       --shell /usr/sbin/nologin fedcore \
    && install -d -m 0700 -o 10001 -g 10001 /var/lib/fedcore
COPY --from=build /opt/fedcore /opt/fedcore
# The root file system can be read-only: what is written goes to the data directory, and to /tmp while
# an evidence pack is made.
ENV PATH=/opt/fedcore/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    FEDCORE_DATA_DIR=/var/lib/fedcore \
    FEDCORE_HOST=0.0.0.0 \
    FEDCORE_PORT=9405
VOLUME ["/var/lib/fedcore"]
USER 10001:10001
EXPOSE 9405
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-I", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['FEDCORE_PORT'] + '/health', timeout=3)"]
ENTRYPOINT ["fedcore"]
CMD ["serve"]
