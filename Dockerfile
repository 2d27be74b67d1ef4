# Candlewick in a container: the packages of requirements.lock, checked by hash, and a user that is not root.
FROM python:3.11-slim AS packages

RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements.lock /build/
RUN pip install --require-hashes -r /build/requirements.lock

FROM python:3.11-slim

RUN useradd --uid 1000 --create-home candlewick \
    && install --directory --owner=candlewick --group=candlewick --mode=0700 /data
COPY --from=packages /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY . /app
WORKDIR /app
# setuptools is in the lock, so nothing is fetched here.
RUN pip install --disable-pip-version-check --no-cache-dir --no-deps --no-build-isolation --editable . \
    && python -m compileall -q /app

USER candlewick
ENV CANDLEWICK_HOME=/data \
    CANDLEWICK_HOST=0.0.0.0 \
    CANDLEWICK_PORT=8050 \
    NUMBA_CACHE_DIR=/data/compiled \
    PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 8050
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=90s --retries=4 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ['CANDLEWICK_PORT']}/healthz\", timeout=4)"]
CMD ["candlewick", "up"]
