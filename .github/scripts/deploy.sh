#!/usr/bin/env bash
# Rolls an image out, and goes back when it does not become ready: deploy.sh DIR IMAGE [SECONDS]. DIR is a folder of
# kustomize that names the image as the base does; IMAGE is NAME:TAG or NAME@DIGEST.
set -euo pipefail
dir=${1%/} image=$2 seconds=${3:-1800}
folder=$(mktemp -d -p "$(dirname "$dir")")
trap 'rm -rf "$folder"' EXIT

if [[ $image == *@* ]]; then new="newName: ${image%@*}, digest: \"${image#*@}\""; else new="newName: ${image%:*}, newTag: \"${image##*:}\""; fi
cat >"$folder/kustomization.yaml" <<END
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../$(basename "$dir")]
images:
  - {name: ghcr.io/fotograma/fotograma, $new}
END
kubectl kustomize "$folder" >"$folder/rendered.txt"
if ! grep -qF "image: $image" "$folder/rendered.txt"; then
    echo "$dir has no image of the name ghcr.io/fotograma/fotograma." >&2
    exit 1
fi

if ! kuberay/roll-out.sh "$folder" "$seconds"; then
    echo "$image was not deployed." >&2
    exit 1
fi
echo "Deployed $image."
