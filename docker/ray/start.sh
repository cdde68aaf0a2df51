#!/usr/bin/env bash
# Starts Ray on this node, and the applications of serve.yaml on it. On SIGINT Serve ends first, and the workers give
# their tasks back. Without Ray `serve run` ends as well, so that the container is started again.
set -euo pipefail

# A worker takes one logical CPU. The object store has Ray's smallest size: videos and frames do not use it.
ray start --head --num-cpus="$FOTOGRAMA_WORKERS" --object-store-memory=80000000 \
    --dashboard-host=0.0.0.0 --metrics-export-port=8080
exec serve run --address=auto "$(dirname "$0")/serve.yaml"
