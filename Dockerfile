# Unverified: no Docker daemon was at hand where this was written. It installs plaudit for CPU or GPU, as torch's own
# wheels come; for another CUDA give the index of torch's wheels: --build-arg TORCH_INDEX=…
#
#   docker build -t plaudit .
#   docker run --rm -v "$PWD:/work" plaudit quickstart
#   docker run --rm --gpus all --shm-size 8g -v "$PWD:/work" -v "$HOME/.cache/huggingface:/cache" plaudit train config.yaml
FROM python:3.11-slim

ARG TORCH_INDEX=
WORKDIR /opt/plaudit
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY recipes recipes
RUN if [ -n "$TORCH_INDEX" ]; then pip install --no-cache-dir --index-url "$TORCH_INDEX" "torch>=2.8,<2.14"; fi \
 && pip install --no-cache-dir '.[serve]' \
 && useradd --create-home user && mkdir -p /work /cache && chown user /work /cache

ENV HF_HOME=/cache
USER user
WORKDIR /work
ENTRYPOINT ["plaudit"]
CMD ["--help"]
