# The HTTP service with one exported model, and, as target "app", the web page with it. docs/container.md says how to run them.
#
#   docker build --build-arg MODEL=models/city -t tfseg-serve .
#   docker build --build-arg MODEL=models/city --target app -t tfseg-app .

FROM debian:trixie-slim AS base
# Debian keeps only the newest build of a package: a version named here would be gone with its next security update.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 tfseg
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/tfseg \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

FROM base AS installer
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/venv

# Half a gigabyte of TensorFlow is for those who build on it: headers, symbols, libclang.
FROM installer AS serve-packages
COPY docker/serve.txt /tmp/serve.txt
RUN pip install --no-cache-dir --no-compile --no-deps -r /tmp/serve.txt \
    && pip uninstall --yes libclang pip \
    && rm -r /opt/venv/lib/python3*/site-packages/tensorflow/include \
    && strip --strip-unneeded /opt/venv/lib/python3*/site-packages/tensorflow/libtensorflow_cc.so.2

FROM installer AS app-packages
COPY docker/app.txt /tmp/app.txt
RUN pip install --no-cache-dir --no-compile --no-deps -r /tmp/app.txt \
    && pip uninstall --yes libclang pip \
    && rm -r /opt/venv/lib/python3*/site-packages/tensorflow/include \
    && strip --strip-unneeded /opt/venv/lib/python3*/site-packages/tensorflow/libtensorflow_cc.so.2

FROM base AS app
ARG MODEL=runs/demo/saved_model
COPY --from=app-packages /opt/venv /opt/venv
COPY tfseg /opt/tfseg/tfseg
COPY ${MODEL} /model
USER 1000
WORKDIR /home/tfseg
ENV PORT=8501
EXPOSE 8501
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/_stcore/health')"]
CMD ["python", "-m", "tfseg.app", "--model", "/model", "--host", "0.0.0.0"]

FROM base AS serve
ARG MODEL=runs/demo/saved_model
COPY --from=serve-packages /opt/venv /opt/venv
COPY tfseg /opt/tfseg/tfseg
COPY ${MODEL} /model
USER 1000
WORKDIR /home/tfseg
ENV PORT=8080
EXPOSE 8080
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/readyz')"]
CMD ["python", "-m", "tfseg.serve", "--model", "/model", "--host", "0.0.0.0"]
