#!/usr/bin/env bash
# Starts the services of docker/compose.yaml with the image that is there, extracts a clip by the command line of the image,
# and removes all of it, with the volumes.
set -euo pipefail
cd "$(dirname "$0")/../../docker"
environment=$(mktemp)
compose=(docker compose --env-file "$environment")
trap '"${compose[@]}" down --volumes --timeout 60; rm -f "$environment"' EXIT

while read -r name; do echo "$name$(openssl rand -hex 24)"; done < <(grep '=$' .env.example) >"$environment"
"${compose[@]}" config --quiet
if ! "${compose[@]}" up --detach --wait --wait-timeout 600 --no-build; then
    "${compose[@]}" logs --tail 200
    exit 1
fi
curl --fail --silent --show-error http://127.0.0.1:8000/readyz
# shellcheck disable=SC2016  # the container's shell expands it
"${compose[@]}" exec -T --env FOTOGRAMA_URL=http://127.0.0.1:8000 --env FOTOGRAMA_PASSWORD=a-trial-of-compose fotograma bash -euc '
    cd "$(mktemp -d)"
    fotograma samples clips
    fotograma login --register --email trial@example.org
    fotograma extract clips/clock.mp4 -o frames
    test -s frames/clock.zip'
# Prometheus reaches what it asks.
curl --fail --silent --show-error 'http://127.0.0.1:9090/api/v1/query?query=up' | jq --exit-status '[.data.result[].value[1]] == ["1", "1"]'
