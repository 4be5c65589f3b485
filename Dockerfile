# docker build --target cpu -t tunevlseg:cpu .      (or --target gpu; see docs/deploy.md)
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# What both kinds are made in; nothing of it but the installed environment reaches a final image.
FROM ${PYTHON_IMAGE} AS base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv /opt/tunevlseg
ENV PATH=/opt/tunevlseg/bin:$PATH
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN pip install --constraint constraints.txt setuptools

# The package itself, with the embedded models.
FROM base AS package
COPY models_store models_store
COPY trainer trainer
COPY server server
COPY webui webui
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist .

# Dependencies come first: they stay cached while only the package changes.
FROM base AS build-cpu
# PyTorch's builds for processors; the ones for NVIDIA cards take gigabytes more.
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
RUN pip install --no-build-isolation --constraint constraints.txt --extra-index-url "$TORCH_INDEX_URL" ".[onnx,postgres,redis]"
COPY --from=package /src/dist dist
RUN pip install --no-deps --force-reinstall dist/*.whl
RUN pip uninstall --yes setuptools pip
RUN python -c "import torch; assert torch.version.cuda is None, torch.__version__" && tunevlseg --help

FROM base AS build-gpu
RUN pip install --no-build-isolation --constraint constraints.txt ".[onnx-gpu,postgres,redis]"
COPY --from=package /src/dist dist
RUN pip install --no-deps --force-reinstall dist/*.whl
RUN pip uninstall --yes setuptools pip
RUN python -c "import torch; assert torch.version.cuda, torch.__version__" && tunevlseg --help

FROM ${PYTHON_IMAGE} AS runtime
RUN useradd --system --uid 10001 --no-create-home --home-dir /tmp tunevlseg \
    && install --directory --owner=tunevlseg --group=tunevlseg --mode=0750 /data /cache
# Everything that is kept is under /data; /cache can be made anew; scratch files go to /tmp. ONNX Runtime and
# the hub's client would report their use to their makers.
ENV PATH=/opt/tunevlseg/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    HF_HOME=/cache/hub \
    HF_HUB_DISABLE_TELEMETRY=1 \
    ORT_DISABLE_TELEMETRY=1 \
    TUNEVLSEG_HOST=0.0.0.0 \
    TUNEVLSEG_PORT=8080 \
    TUNEVLSEG_DATA_DIR=/data \
    TUNEVLSEG_CACHE_DIR=/cache \
    TUNEVLSEG_LOG_FORMAT=json
USER tunevlseg
WORKDIR /data
VOLUME ["/data", "/cache"]
EXPOSE 8080
# 200 once a mask has been made. No proxy is asked, whatever the container's environment says.
HEALTHCHECK --interval=15s --timeout=5s --start-period=600s --retries=4 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['TUNEVLSEG_PORT']), timeout=4); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["tunevlseg"]
CMD ["serve"]

FROM runtime AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility TUNEVLSEG_DEVICE=cuda
COPY --from=build-gpu /opt/tunevlseg /opt/tunevlseg

# Last, so that it is what a build without --target makes.
FROM runtime AS cpu
COPY --from=build-cpu /opt/tunevlseg /opt/tunevlseg
