"""How many bytes of an erased patient are left, in a real bucket and on the node's disk, and how many rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from infra.stack.throwaway import Bucket
from pipelines.erasure.ledger import PREFIX
from tests.erasure.conftest import bodies, clinic, copies, finalise, finaliser, node, pool, squats, store
from tests.erasure.test_erasure import ERASED, Scene, erased, scene
from tests.erasure.test_on_s3 import blobs

__all__ = [
    "blobs", "bodies", "clinic", "copies", "finalise", "finaliser", "node", "pool", "scene", "squats", "store",
]  # fmt: skip


def test_nothing_of_an_erased_patient_is_left(
    scene: Scene, bodies: list[bytes], s3: Bucket, proved: Callable[..., None]
) -> None:
    before = bytes_of(scene, s3)
    assert before > 0
    erased(scene, bodies)
    left = bytes_of(scene, s3)
    rows = sum(scene.found(query) for query in ERASED.values())
    proved("erasure", bytes_before=before, bytes_remaining=left, rows_remaining=rows)
    assert (left, rows) == (0, 0)


def bytes_of(scene: Scene, s3: Bucket) -> int:
    """Of every object version but the erasure ledger's, and of every file on the node's disk that has a session's id in
    it or in its name.
    """
    listed = s3.client().list_object_versions(Bucket=s3.bucket)
    assert not listed["IsTruncated"]
    stored = sum(each["Size"] for each in listed.get("Versions", []) if not each["Key"].startswith(PREFIX))
    ids = [row["session_id"] for row in scene.clinic.execute("select session_id from telemetry.sessions")]
    on_disk = 0
    for path in Path(scene.node.data_dir).rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        if any(each.bytes in content or str(each) in str(path) for each in ids):
            on_disk += len(content)
    return stored + on_disk
