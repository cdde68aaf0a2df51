#!/usr/bin/env bash
# Rolls out a kustomization of Fotograma: the schema of the database first, then the clusters. The former version serves
# until the new one is ready; when an application of the new one fails, or it is not ready in time, the former one is
# applied again.
# Usage: roll-out.sh DIR [SECONDS]. Exits with 1 when the new version does not serve.
set -euo pipefail

dir=$1
seconds=${2:-1800}
poll_seconds=${ROLL_OUT_POLL_SECONDS:-10}
kubectl() { command kubectl --namespace fotograma "$@"; }
state() { kubectl get rayservice fotograma --ignore-not-found --output "jsonpath=$1"; }
condition() { state "{.status.conditions[?(@.type==\"$1\")].status}"; }

# Serve has tried a replica of the new version again and again, and gave it up.
has_failed() {
    local of=active
    [ "$(condition UpgradeInProgress)" != True ] || of=pending
    [[ " $(state "{.status.${of}ServiceStatus.applicationStatuses.*.status}") " == *" DEPLOY_FAILED "* ]]
}

# wait_until_ready SECONDS: fails when an application has failed three times in a row, which an old state has not, or in the end.
wait_until_ready() {
    local end=$((SECONDS + $1)) failures=0
    # KubeRay writes this generation together with whether a second cluster is on its way.
    kubectl wait rayservice/fotograma --for="jsonpath={.status.observedGeneration}=$(state '{.metadata.generation}')" --timeout=5m || return 1
    while [ "$(condition UpgradeInProgress)" != False ] || [ "$(condition Ready)" != True ]; do
        if has_failed; then failures=$((failures + 1)); else failures=0; fi
        if ((failures >= 3)) || ((SECONDS >= end)); then return 1; fi
        sleep "$poll_seconds"
    done
}

former=$(mktemp)
trap 'rm -f "$former"' EXIT
state '{.metadata.annotations.kubectl\.kubernetes\.io/last-applied-configuration}' >"$former"

kubectl apply --kustomize "$dir" --selector 'app.kubernetes.io/component notin (migrate, cluster)'
# A Job can't be changed.
kubectl delete job fotograma-migrate --ignore-not-found
kubectl apply --kustomize "$dir" --selector app.kubernetes.io/component=migrate
kubectl wait job/fotograma-migrate --for=condition=Complete --timeout=30m

kubectl apply --kustomize "$dir" --selector app.kubernetes.io/component=cluster
if wait_until_ready "$seconds"; then
    echo "The cluster $(state '{.status.activeServiceStatus.rayClusterName}') serves."
    exit 0
fi

kubectl describe rayservice fotograma >&2
if [ ! -s "$former" ]; then
    echo "The new version is not ready, and there is no former version to go back to." >&2
    exit 1
fi
echo "The new version is not ready: back to the former one, which serves meanwhile." >&2
# The schema stays: a release only adds to it.
kubectl apply --filename "$former"
if wait_until_ready "$seconds"; then
    echo "The former version serves, in the cluster $(state '{.status.activeServiceStatus.rayClusterName}')." >&2
else
    echo "The former version was applied, and is not ready yet: kubectl --namespace fotograma describe rayservice fotograma" >&2
fi
exit 1
