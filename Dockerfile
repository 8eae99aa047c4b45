# stepahead as an image: `docker build .`, or `docker compose up`.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
# Where PyTorch keeps its CPU builds. Without one the build fails rather than bring CUDA, unless TORCH=2.13.0 asks for it.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG TORCH=2.13.0+cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /opt/stepahead
ENV PATH=/opt/stepahead/bin:$PATH
RUN pip install --extra-index-url "${TORCH_INDEX}" "torch==${TORCH}"
WORKDIR /src
COPY clients/python clients/python
COPY pyproject.toml README.md LICENSE ./
COPY model model
COPY service service
RUN pip install ./clients/python .
# What only building extensions and tests needs; torch_shm_manager is loaded at the start.
RUN cd /opt/stepahead/lib/python3*/site-packages/torch \
 && rm -rf test include \
 && find bin -type f ! -name torch_shm_manager -delete

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="stepahead" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/stepahead /opt/stepahead
RUN groupadd --gid 10001 stepahead \
 && useradd --no-log-init --uid 10001 --gid 10001 --home-dir /var/lib/stepahead --no-create-home \
      --shell /usr/sbin/nologin stepahead \
 && install --directory --owner=10001 --group=10001 --mode=0750 /var/lib/stepahead
ENV PATH=/opt/stepahead/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 \
    STEPAHEAD_HOST=0.0.0.0 \
    STEPAHEAD_PORT=8000 \
    STEPAHEAD_DATA_DIR=/var/lib/stepahead \
    NUMBA_CACHE_DIR=/var/lib/stepahead/numba
USER 10001:10001
WORKDIR /var/lib/stepahead
VOLUME /var/lib/stepahead
EXPOSE 8000
# The first start compiles the kernels for this machine and keeps them in the volume; later ones take seconds.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["python3", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"STEPAHEAD_PORT\"]}/readyz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["stepahead"]
CMD ["serve"]
