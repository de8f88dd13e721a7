# The HTTP service with one exported model, and, as target "app", the web page with it, by ONNX Runtime. docs/container.md says
# how to run them.
#
#   tfseg export --run runs/city --out models/city --formats onnx
#   docker build --build-arg MODEL=models/city -t tfseg-serve .
#   docker build --build-arg MODEL=models/city --target app -t tfseg-app .

# The index of all architectures, as it was on 2026-10-08, the newest then. `docker buildx imagetools inspect
# debian:trixie-slim` prints today's; Dependabot proposes it, see .github/dependabot.yml.
FROM debian:trixie-slim@sha256:a29215f6a35e51e22adffa17f89e9d2ef06214e64a2bad10d765c46aea49f11f AS base
# Debian keeps only the newest build of a package: a version named here would be gone with its next security update. The
# upgrade brings what Debian has mended since the image of that digest was made.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get upgrade --yes \
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
COPY docker /opt/docker

FROM installer AS serve-packages
RUN sh /opt/docker/install.sh serve

FROM installer AS app-packages
RUN sh /opt/docker/install.sh app

FROM base AS model
ARG MODEL=models/demo
COPY tfseg /opt/tfseg/tfseg
COPY ${MODEL}/labels.json ${MODEL}/model.onnx /model/
USER 1000
WORKDIR /home/tfseg

FROM model AS app
COPY --from=app-packages /opt/venv /opt/venv
ENV PORT=8501
EXPOSE 8501
HEALTHCHECK --start-period=20s CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/_stcore/health')"]
CMD ["python", "-m", "tfseg.app", "--model", "/model", "--runtime", "onnxruntime", "--host", "0.0.0.0"]

FROM model AS serve
COPY --from=serve-packages /opt/venv /opt/venv
ENV PORT=8080
EXPOSE 8080
HEALTHCHECK --start-period=20s CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/readyz')"]
CMD ["python", "-m", "tfseg.serve", "--model", "/model", "--runtime", "onnxruntime", "--host", "0.0.0.0"]
