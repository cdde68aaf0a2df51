"""Which work is for which kind of workers, and who may take it."""

from hypothesis import given
from hypothesis import strategies as st

from db.values.worker_kind import GPU_WORK_BYTES, PATIENCE_SECONDS, WorkerKind, may_claim, preferred_kind

KINDS = st.sampled_from(WorkerKind)
SECONDS = st.floats(0, 1e6)


@given(st.integers(1, 1 << 45))
def test_only_big_work_prefers_a_gpu_and_only_where_there_are_some(size: int) -> None:
    assert preferred_kind(size, gpu_exists=False) is WorkerKind.CPU
    assert (preferred_kind(size, gpu_exists=True) is WorkerKind.GPU) == (size >= GPU_WORK_BYTES)


@given(KINDS, KINDS, SECONDS, st.booleans())
def test_nothing_waits_longer_than_the_patience_for_a_kind(
    worker: WorkerKind, prefers: WorkerKind, waited: float, exists: bool
) -> None:
    """Any worker may claim any work that has waited for so long."""
    assert may_claim(worker, prefers, waited_seconds=waited + PATIENCE_SECONDS, gpu_exists=exists)


@given(KINDS, KINDS, SECONDS)
def test_work_for_a_kind_that_does_not_exist_waits_for_nobody(
    worker: WorkerKind, prefers: WorkerKind, waited: float
) -> None:
    assert may_claim(worker, prefers, waited_seconds=waited, gpu_exists=False)


@given(KINDS, SECONDS, st.booleans())
def test_a_kind_may_always_claim_its_own_work(kind: WorkerKind, waited: float, exists: bool) -> None:
    assert may_claim(kind, kind, waited_seconds=waited, gpu_exists=exists)
    assert may_claim(WorkerKind.GPU, kind, waited_seconds=waited, gpu_exists=exists)


@given(KINDS, KINDS, SECONDS, SECONDS, st.booleans())
def test_what_may_be_claimed_may_be_claimed_later_too(
    worker: WorkerKind, prefers: WorkerKind, waited: float, more: float, exists: bool
) -> None:
    if may_claim(worker, prefers, waited_seconds=waited, gpu_exists=exists):
        assert may_claim(worker, prefers, waited_seconds=waited + more, gpu_exists=exists)


@given(st.floats(0, PATIENCE_SECONDS, exclude_max=True))
def test_cpu_workers_leave_work_to_gpus_for_a_while(waited: float) -> None:
    assert not may_claim(WorkerKind.CPU, WorkerKind.GPU, waited_seconds=waited, gpu_exists=True)
