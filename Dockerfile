# docker build -t sway-gate .
# GPU: --build-arg TORCH_INDEX_URL=https://download.pytorch.org/whl/cu130; if empty, torch comes from pip's own index.
# Without access to the hub: copy all-MiniLM-L6-v2 into minilm/ and pass --build-arg MINILM=folder.
ARG PYTHON_IMAGE=python:3.11-slim
ARG MINILM=hub
ARG MINILM_REVISION=c9745ed1d9f207416be6d2e6f8de32d1f16199bf

FROM ${PYTHON_IMAGE} AS minilm-hub
ARG MINILM_REVISION
ARG HF_ENDPOINT=https://huggingface.co
ARG HUB_FILES=${HF_ENDPOINT}/sentence-transformers/all-MiniLM-L6-v2/resolve/${MINILM_REVISION}
COPY docker/minilm.sha256 /
WORKDIR /minilm/1_Pooling
WORKDIR /minilm
RUN while read -r _ file; do \
        python3 -c 'from sys import argv; from urllib.request import urlretrieve; urlretrieve(*argv[1:])' \
            "${HUB_FILES}/${file}" "${file}" || exit 1; \
    done </minilm.sha256

FROM scratch AS minilm-folder
COPY minilm/ /minilm/

# hadolint ignore=DL3006
FROM minilm-${MINILM} AS minilm-unchecked

FROM ${PYTHON_IMAGE} AS minilm
ARG MINILM_REVISION
ARG SNAPSHOT=/hub/models--sentence-transformers--all-MiniLM-L6-v2/snapshots/${MINILM_REVISION}
COPY docker/minilm.sha256 /
WORKDIR /minilm
RUN --mount=type=bind,from=minilm-unchecked,source=/minilm,target=/minilm \
    sha256sum --check --strict /minilm.sha256 \
    && while read -r _ file; do install -D -m 644 "${file}" "${SNAPSHOT}/${file}"; done </minilm.sha256

# Only the requirements from pyproject.toml, so that other changes of the file keep the cached layers.
FROM ${PYTHON_IMAGE} AS requirements
COPY pyproject.toml /
RUN python3 -c 'import tomllib; \
    file = tomllib.load(open("/pyproject.toml", "rb")); \
    project, extras = file["project"], file["project"]["optional-dependencies"]; \
    print(*project["dependencies"], *extras["hf"], *extras["semsim"], sep="\n", file=open("/run.txt", "w")); \
    print(*file["build-system"]["requires"], sep="\n", file=open("/build.txt", "w"))'

FROM ${PYTHON_IMAGE} AS dependencies
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
COPY constraints.txt /
RUN python3 -m venv --without-pip /opt/sway
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m pip --python /opt/sway/bin/python install --no-deps --no-compile -c /constraints.txt \
        ${TORCH_INDEX_URL:+--index-url "${TORCH_INDEX_URL}"} torch \
    && rm -rf /opt/sway/lib/python3*/site-packages/torch/test
COPY --from=requirements /run.txt /
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m pip --python /opt/sway/bin/python install --no-compile -c /constraints.txt -r /run.txt
# A read-only root cannot cache bytecode, so it is compiled here, valid regardless of the files' times. Files that do not
# compile are for a newer Python and are never imported.
RUN /opt/sway/bin/python -m compileall -qq -j 0 -x /tests/ --invalidation-mode unchecked-hash /opt/sway/lib || :

FROM ${PYTHON_IMAGE} AS wheel
COPY constraints.txt /
COPY --from=requirements /build.txt /
RUN --mount=type=cache,target=/root/.cache/pip python3 -m pip install -c /constraints.txt -r /build.txt
WORKDIR /checkout
COPY pyproject.toml README.md LICENSE ./
COPY sway_gate sway_gate
RUN python3 -m pip wheel --no-deps --no-build-isolation --wheel-dir /dist .

FROM dependencies AS package
RUN --mount=type=cache,target=/root/.cache/pip python3 -m pip install -c /constraints.txt cyclonedx-bom
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist \
    python3 -m pip --python /opt/sway/bin/python install --no-deps --no-compile --prefix /package /dist/*.whl \
    && /opt/sway/bin/python -m compileall -q --invalidation-mode unchecked-hash /package/lib
# The SBOM of /opt/sway with the package.
RUN mkdir -p /package/share/sway-gate \
    && PYTHONPATH=$(echo /package/lib/python3*/site-packages) cyclonedx-py environment --output-reproducible \
        --output-file /package/share/sway-gate/sbom.cdx.json /opt/sway/bin/python

FROM ${PYTHON_IMAGE}
# Any uid may write into /cache and into a new volume mounted there.
RUN mkdir -m 1777 /cache
COPY --from=minilm /hub /opt/sway/share/sway-gate/hub
COPY --from=dependencies /opt/sway /opt/sway
COPY --from=package /package /opt/sway
# /dev/shm is writable even if the root is read-only. No bytecode is written into a mounted work tree.
ENV PATH=/opt/sway/bin:${PATH} \
    XDG_CACHE_HOME=/cache \
    TMPDIR=/dev/shm \
    HF_HUB_OFFLINE=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sway-gate" \
    org.opencontainers.image.description="Test whether LoRA or QLoRA training changed a model as intended." \
    org.opencontainers.image.source="https://github.com/sway-gate/sway-gate" \
    org.opencontainers.image.url="https://github.com/sway-gate/sway-gate" \
    org.opencontainers.image.documentation="https://github.com/sway-gate/sway-gate#readme" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
ENTRYPOINT ["sway"]
