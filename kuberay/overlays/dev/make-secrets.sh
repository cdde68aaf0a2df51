#!/usr/bin/env bash
# Makes the secrets of the overlay dev, with values of chance. What exists stays.
set -euo pipefail

secret() {
    local name=$1
    shift
    kubectl --namespace fotograma get secret "$name" >/dev/null 2>&1 || kubectl --namespace fotograma create secret generic "$name" "$@"
}

kubectl create namespace fotograma --dry-run=client --output yaml | kubectl apply --filename -
postgres=$(openssl rand -hex 24)
cache=$(openssl rand -hex 24)
# Two of them have the same passwords: all or none are made.
if ! kubectl --namespace fotograma get secret fotograma >/dev/null 2>&1; then
    kubectl --namespace fotograma delete secret --ignore-not-found fotograma-postgres fotograma-cache
fi
secret fotograma-gcs-redis --from-literal=password="$(openssl rand -hex 24)"
secret fotograma-postgres --from-literal=password="$postgres"
secret fotograma-cache --from-literal=password="$cache"
secret fotograma \
    --from-literal=FOTOGRAMA_DATABASE_URL="postgresql://fotograma:$postgres@fotograma-postgres/fotograma" \
    --from-literal=FOTOGRAMA_REDIS_URL="redis://:$cache@fotograma-cache" \
    --from-literal=FOTOGRAMA_SECRET_KEY="$(openssl rand -hex 32)" \
    --from-literal=AWS_ACCESS_KEY_ID="$(openssl rand -hex 10)" \
    --from-literal=AWS_SECRET_ACCESS_KEY="$(openssl rand -hex 20)"
