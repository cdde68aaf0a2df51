#!/usr/bin/env bash
# Runs the previous release's tests of the database, with the code of that release, on the schema of this commit: during an
# upgrade the schema is migrated first, and workers of the former version go on. The newest tag before this commit is the
# previous release; without one there is nothing to try.
set -euo pipefail
cd "$(git rev-parse --show-toplevel)"

if [ "$(git rev-parse --is-shallow-repository)" = true ]; then
    echo "This clone has no history, so that the previous release can't be found: fetch all of it, with the tags." >&2
    exit 1
fi
tag=$(git for-each-ref --count=1 --merged HEAD --no-contains HEAD --sort=-version:refname --format='%(refname:short)' 'refs/tags/v[0-9]*')
if [ -z "$tag" ]; then
    echo "There is no release before this commit: nothing to try."
    exit 0
fi

folder=$(mktemp -d)
trap 'git worktree remove --force "$folder/release" 2>/dev/null; rm -rf "$folder"' EXIT
git worktree add --quiet --detach "$folder/release" "$tag"
echo "The tests of $tag run on the schema of $(git rev-parse --short HEAD)."
uv sync --quiet --locked
export FOTOGRAMA_NEW_SCHEMA=$PWD PYTHONPATH=$PWD/tests/previous_release
unset VIRTUAL_ENV
cd "$folder/release"
# test_schema.py compares the release's own tables with its own migrations.
uv run --quiet --locked pytest -p migrate_to_new_schema -n 0 tests/integration/db --ignore tests/integration/db/test_schema.py
