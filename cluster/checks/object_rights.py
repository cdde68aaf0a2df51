"""Which right an object store has refused, and what gives it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from cluster.checks.finding import Finding, fail

SUBJECT, WHERE = "objects", "FOTOGRAMA_OBJECTS_URL"


class Right(StrEnum):
    LIST = "list objects"
    WRITE = "write objects"
    WRITE_IN_PARTS = "write large objects in parts"
    READ = "read objects"
    DELETE = "delete objects"


ACTIONS: Mapping[str, Mapping[Right, Sequence[str]]] = {
    "s3": {
        Right.LIST: ("s3:ListBucket",),
        Right.WRITE: ("s3:PutObject",),
        Right.WRITE_IN_PARTS: ("s3:PutObject", "s3:AbortMultipartUpload"),
        Right.READ: ("s3:GetObject",),
        Right.DELETE: ("s3:DeleteObject",),
    },
    "gs": {
        Right.LIST: ("storage.objects.list",),
        Right.WRITE: ("storage.objects.create",),
        Right.WRITE_IN_PARTS: ("storage.objects.create",),
        Right.READ: ("storage.objects.get",),
        Right.DELETE: ("storage.objects.delete",),
    },
}
WRONG_CREDENTIALS = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"})
DENIED, NO_BUCKET, WRONG_CLOCK = "AccessDenied", "NoSuchBucket", "RequestTimeTooSkewed"
_REFUSING_CODES = WRONG_CREDENTIALS | {NO_BUCKET, WRONG_CLOCK, DENIED, "AllAccessDisabled"}
_REFUSING_TYPES = frozenset({"PermissionDeniedError", "UnauthenticatedError", "PermissionError"})
# For a list and for a deletion obstore raises an error of no special kind: only its text tells of the refusal.
_CODE = re.compile(r"<Code>(\w+)</Code>|\(code: (\w+)\)")
_REFUSING_STATUS = re.compile(r"status code: 40[13]\b")


def refusal_code(error: BaseException | None) -> str | None:
    """S3's code of the refusal; None when another try may help. Looks at the causes."""
    while error is not None:
        match, name = _CODE.search(str(error)), type(error).__name__
        code = (match[1] or match[2]) if match else None
        if code in _REFUSING_CODES or name in _REFUSING_TYPES or _REFUSING_STATUS.search(str(error)):
            # The answer to HEAD has no body.
            return code or (DENIED if name != "UnauthenticatedError" else name)
        error = error.__cause__ or error.__context__
    return None


def bucket_finding(url: str, refused: Mapping[Right, str]) -> Finding:
    """refused: with the code of each refusal; not empty."""
    parts = urlsplit(url)
    bucket = parts.netloc.rpartition("@")[2]
    codes = sorted(set(refused.values()))
    if wrong := WRONG_CREDENTIALS.intersection(codes):
        text = f"The bucket {bucket} does not take the credentials ({', '.join(sorted(wrong))})."
        remedy = "Correct AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for temporary ones, AWS_SESSION_TOKEN."
        return fail(SUBJECT, text, remedy, "AWS_ACCESS_KEY_ID")
    if WRONG_CLOCK in codes:
        text = f"The bucket {bucket} refuses this machine's clock ({WRONG_CLOCK})."
        return fail(SUBJECT, text, "Set the clock by NTP.", WHERE, is_lasting=False)
    if NO_BUCKET in codes:
        return fail(SUBJECT, f"There is no bucket {bucket}.", "Create it, or correct the name.", WHERE)
    text = f"The bucket {bucket} does not let the service {_joined(refused)} ({', '.join(codes)})."
    return fail(SUBJECT, text, _remedy(parts.scheme, bucket, parts.path.strip("/"), refused), WHERE)


def folder_finding(path: object, refused: str) -> Finding:
    """path: what is closed. refused: what the service may not do there."""
    user = os.geteuid()
    text = f"The service, as the user {user}, may not {refused} {path}."
    remedy = f"Give it to that user with all that is in it (chown -R {user}); on Kubernetes, set fsGroup of the pod."
    return fail(SUBJECT, text, remedy, WHERE)


def closed_folder(root: Path) -> Finding | None:
    """Looks at the folder of the objects and at those in it: another user may have made some, such as by a restore."""
    needed = {os.R_OK: "list", os.W_OK: "write in", os.X_OK: "enter"}
    try:
        folders = [root, *(path for path in sorted(root.iterdir()) if path.is_dir())] if root.is_dir() else []
    except PermissionError:
        folders = [root]
    for folder in folders:
        closed = [verb for mode, verb in needed.items() if not os.access(folder, mode, effective_ids=True)]
        if closed:
            return folder_finding(folder, " and ".join(closed))
    return None


def _remedy(scheme: str, bucket: str, prefix: str, refused: Mapping[Right, str]) -> str:
    if scheme not in ACTIONS:
        return "Give the service the rights to list, read, write and delete objects (Storage Blob Data Contributor)."
    actions = (action for right in Right if right in refused for action in ACTIONS[scheme][right])
    wanted = ", ".join(dict.fromkeys(actions))
    if scheme == "gs":
        return f"Give its service account {wanted} on the bucket; the role Storage Object Admin has all of them."
    objects = f"arn:aws:s3:::{bucket}/{prefix}/*".replace("//", "/")
    places = [f"arn:aws:s3:::{bucket}"] if Right.LIST in refused else []
    places += [objects] if set(refused) - {Right.LIST} else []
    return (
        f"Allow {wanted} on {' and '.join(places)}, in the policy of the user of AWS_ACCESS_KEY_ID (or of the "
        "machine's role) or of the bucket."
    )


def _joined(refused: Mapping[Right, str]) -> str:
    names = [right.value for right in Right if right in refused]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
