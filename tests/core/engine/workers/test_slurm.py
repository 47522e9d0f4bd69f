from __future__ import annotations

import pytest

from trainctl import TrainctlError
from trainctl.core.engine.workers.slurm import first_host, placed_by_slurm
from trainctl.core.engine.workers.workers import Fleet

STEP = {
    "SLURM_JOB_ID": "41234",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_NODEID": "1",
}


def test_the_machines_meet_on_the_first_at_a_port_of_the_job() -> None:
    fleet = placed_by_slurm(Fleet(nproc=4, nnodes="slurm"), STEP)
    assert fleet == Fleet(nproc=4, nnodes="2", node_rank=1, rdzv_endpoint="gpu07:11234")


def test_one_machine_needs_no_meeting_point() -> None:
    alone = STEP | {"SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NUM_TASKS": "1", "SLURM_NODEID": "0"}
    assert placed_by_slurm(Fleet(nnodes="slurm"), alone).is_single


@pytest.mark.parametrize(
    ("nodelist", "first"),
    [
        ("localhost", "localhost"),
        ("a1,b2", "a1"),
        ("gpu[07-09,12],login", "gpu07"),
        ("rack[1-2]-n[3,5-6]", "rack1-n3"),
        ("n[3,5].cluster,m1", "n3.cluster"),
    ],
)
def test_the_first_name_of_a_list(nodelist: str, first: str) -> None:
    assert first_host(nodelist) == first


def test_outside_of_srun_and_with_a_task_for_each_worker_it_says_what_to_write() -> None:
    with pytest.raises(TrainctlError, match="'SLURM_STEP_NUM_NODES'"):
        placed_by_slurm(Fleet(nnodes="slurm"), {"SLURM_JOB_ID": "41234"})
    with pytest.raises(TrainctlError, match="8 tasks on 2 machines"):
        placed_by_slurm(Fleet(nnodes="slurm"), STEP | {"SLURM_STEP_NUM_TASKS": "8"})
