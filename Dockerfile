# syntax=docker/dockerfile:1
# Wellio without its development servers: DATABASE_URL and REDIS_URL name the real ones.

FROM python:3.13-slim AS build
WORKDIR /wellio
COPY requirements-image.txt .
RUN python -m venv .venv \
    && .venv/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements-image.txt \
    && .venv/bin/pip uninstall --yes pip

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home wellio
WORKDIR /wellio
COPY --from=build /wellio/.venv .venv
COPY wellio wellio
COPY sql sql
COPY bin bin
ENV PATH=/wellio/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    WELLIO_ENV=production \
    HOST=0.0.0.0 \
    PORT=3000 \
    WELLIO_DATA_DIR=/data
RUN python -m compileall -q wellio && mkdir /data && chown wellio /data
USER 10001
VOLUME /data
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/health/ready\", timeout=2)"]
CMD ["python", "-m", "wellio"]
