"""`fotograma ops doctor` and the start, with a bucket or a folder of objects that refuses something."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.checks.finding import Finding, Level
from cluster.checks.objects_check import objects_findings
from cluster.checks.start_check import StartRefused, checked_settings
from cluster.settings import Settings
from db.object_store.store_factory import open_store
from tests.support.servers.s3_server import ACCESS_KEY, S3Server

BucketAs = Callable[[str], str]
UNPRIVILEGED = 65534


@pytest.fixture
def bucket(s3_server: S3Server, settings: pytest.MonkeyPatch) -> BucketAs:
    """Sets an empty bucket, with the credentials of a user of the server; returns its name."""

    def set_bucket(user: str) -> str:
        url = s3_server.new_bucket()
        settings.setenv("FOTOGRAMA_OBJECTS_URL", f"{url}/videos")
        for name, value in s3_server.environment_of(user).items():
            settings.setenv(name, value)
        return url.removeprefix("s3://")

    return set_bucket


def objects_finding() -> Finding:
    (finding,) = asyncio.run(objects_findings(Settings()))
    return finding


def test_bucket_with_all_rights_is_well_and_keeps_no_probe(bucket: BucketAs) -> None:
    bucket(ACCESS_KEY)
    assert objects_finding().level is Level.OK
    assert asyncio.run(open_store(Settings().objects_url).keys("probe")) == []


@pytest.mark.parametrize(
    ("user", "refused", "allowed"),
    [
        (
            "reader",
            "write objects, write large objects in parts and delete objects",
            "s3:PutObject, s3:AbortMultipartUpload, s3:DeleteObject on arn:aws:s3:::{}/videos/*",
        ),
        (
            "writer",
            "list objects and read objects",
            "s3:ListBucket, s3:GetObject on arn:aws:s3:::{0} and arn:aws:s3:::{0}/videos/*",
        ),
        ("without-list", "list objects", "s3:ListBucket on arn:aws:s3:::{}"),
    ],
    ids=["reader", "writer", "without list"],
)
def test_each_right_of_a_bucket_is_told_apart(bucket: BucketAs, user: str, refused: str, allowed: str) -> None:
    name = bucket(user)
    finding = objects_finding()
    assert finding.text == f"The bucket {name} does not let the service {refused} (AccessDenied)."
    assert finding.remedy.startswith(f"Allow {allowed.format(name)}, in the policy of the user of AWS_ACCESS_KEY_ID")
    assert (finding.level, finding.where, finding.is_lasting) == (Level.FAIL, "FOTOGRAMA_OBJECTS_URL", True)


def test_wrong_credentials_of_a_bucket_are_told_from_missing_rights(
    bucket: BucketAs, settings: pytest.MonkeyPatch
) -> None:
    name = bucket("unknown")
    finding = objects_finding()
    assert finding.text == f"The bucket {name} does not take the credentials (InvalidAccessKeyId)."
    assert finding.where == "AWS_ACCESS_KEY_ID"
    settings.setenv("AWS_ACCESS_KEY_ID", "reader")
    settings.setenv("AWS_SECRET_ACCESS_KEY", "another")
    assert "(SignatureDoesNotMatch)" in objects_finding().text


def test_bucket_that_does_not_exist_is_named(bucket: BucketAs, settings: pytest.MonkeyPatch) -> None:
    bucket("reader")
    settings.setenv("FOTOGRAMA_OBJECTS_URL", "s3://another-bucket")
    assert objects_finding().text == "There is no bucket another-bucket."


def test_start_refuses_a_bucket_without_rights(bucket: BucketAs, settings: pytest.MonkeyPatch) -> None:
    settings.setenv("RAY_AUTH_MODE", "token")
    bucket("reader")
    refusal = r"FOTOGRAMA_OBJECTS_URL: The bucket \S+ does not let the service write objects, .* Allow s3:PutObject"
    with pytest.raises(StartRefused, match=refusal):
        checked_settings()


@pytest.fixture
def closed_folder(settings: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the objects, with all rights. While the test runs, the process is no root's."""
    with tempfile.TemporaryDirectory(prefix="fotograma-test-") as name:
        root = Path(name) / "objects"
        (root / "videos").mkdir(parents=True)
        for path in (Path(name), root, root / "videos"):
            path.chmod(0o777)
        settings.setenv("FOTOGRAMA_OBJECTS_URL", root.as_uri())
        settings.setenv("FOTOGRAMA_SCRATCH", name)
        user = os.geteuid()
        os.seteuid(UNPRIVILEGED if user == 0 else user)
        try:
            assert objects_finding().level is not Level.FAIL
            yield root
        finally:
            os.seteuid(user)
            for path in (root, root / "videos"):
                path.chmod(0o777)


@pytest.mark.parametrize(
    ("folder", "mode", "verb"),
    [("videos", 0o555, "write in"), ("videos", 0o333, "list"), (".", 0o555, "write in"), (".", 0o666, "enter")],
)
def test_closed_folder_is_named_with_what_is_refused(closed_folder: Path, folder: str, mode: int, verb: str) -> None:
    user = os.geteuid()
    path = closed_folder / folder
    os.seteuid(os.getuid())
    path.chmod(mode)
    os.seteuid(user)
    finding = objects_finding()
    assert finding.text == f"The service, as the user {user}, may not {verb} {path}."
    assert f"chown -R {user}" in finding.remedy
    assert (finding.level, finding.where, finding.is_lasting) == (Level.FAIL, "FOTOGRAMA_OBJECTS_URL", True)
