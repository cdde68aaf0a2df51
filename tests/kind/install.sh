#!/usr/bin/env bash
# Installs KubeRay's operator and the overlay dev on the cluster of kubectl's context, and waits until the service is ready.
# The image has to be on the nodes, and the repository is the working directory. tests/scenarios holds what is tried there.
set -euo pipefail

helm install kuberay-operator kuberay-operator --repo https://ray-project.github.io/kuberay-helm --version 1.7.0 \
    --namespace kuberay-system --create-namespace --wait --timeout 5m
kuberay/overlays/dev/make-secrets.sh
kuberay/roll-out.sh kuberay/overlays/dev

kubectl create namespace load
# The network policies let in who has this label.
kubectl label namespace load fotograma.io/reaches-api=true
