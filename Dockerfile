# The proxy on a CPU, with the models that come with it.
#
#     docker build -t laconic .
#     docker run -p 127.0.0.1:8787:8787 -e LACONIC_OPEN=true -v laconic-data:/data laconic
#     docker run -p 8787:8787 -v ./laconic.toml:/etc/laconic.toml:ro -e LACONIC_CONFIG=/etc/laconic.toml laconic
#
# LACONIC_OPEN=true: whoever reaches the published port may use it. Without it, the configuration must have keys for
# callers ([key.NAME], `docker run laconic keys new`), or the container does not start.

FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY compressors compressors
COPY policies policies
COPY proxy proxy
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist .

FROM python:3.12-slim
COPY requirements.lock /tmp/requirements.lock
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.lock
RUN --mount=type=bind,from=build,source=/dist,target=/dist pip install --no-cache-dir --no-deps /dist/*.whl
RUN useradd --uid 10001 --create-home laconic && install -d -o laconic -g laconic /data
USER laconic
WORKDIR /home/laconic
# Inside a container, the container's port is the only one. Whoever publishes it decides who reaches it, and says so.
ENV LACONIC_HOST=0.0.0.0 LACONIC_PORT=8787 LACONIC_LEDGER=/data/laconic.sqlite3
VOLUME /data
EXPOSE 8787
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["python", "-c", \
  "import os, urllib.request as u; u.build_opener(u.ProxyHandler({})).open(f\"http://127.0.0.1:{os.environ['LACONIC_PORT']}/healthz\", timeout=2)"]
ENTRYPOINT ["laconic"]
CMD ["serve"]
