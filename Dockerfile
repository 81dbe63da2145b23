# vaclip on a CPU, not as root:
#
#   docker build -t vaclip .
#   docker run --rm --user "$(id -u)" -e HOME=/tmp -v "$PWD:/data" vaclip export runs/RUN --to exported
#   docker run --rm -p 127.0.0.1:8378:8378 -v "$PWD/exported:/data:ro" vaclip \
#     serve /data --host 0.0.0.0 --port 8378
FROM python:3.11-slim

# The CPU build of torch, where the index has one: the usual build brings gigabytes for GPUs.
ARG TORCH_INDEX=
WORKDIR /src
COPY pyproject.toml setup.py constraints.txt README.md CHANGELOG.md LICENSE NOTICE ./
COPY src ./src
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch==2.13.0 \
 && pip install --no-cache-dir --constraint constraints.txt '.[export,lite0,serve]' \
 && useradd --create-home --uid 10001 vaclip

USER vaclip
WORKDIR /data
ENV PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1
ENTRYPOINT ["vaclip"]
CMD ["--help"]
