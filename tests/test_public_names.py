"""What `trainctl` exports: the names of the API page, and what goes with them."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib.metadata import version

import pytest

import trainctl
import trainctl.losses

API_PAGE = {
    "evenly_distribute_count_into_bins",
    "recursive_update",
    "Builder",
    "ScalarMeanTracker",
    "LoggingPackage",
    "LinearDecay",
    "MultiLinearDecay",
    "set_deterministic_cudnn",
    "set_seed",
    "EarlyStoppingCriterion",
    "NeverEarlyStoppingCriterion",
    "OffPolicyPipelineComponent",
    "TrainingSettings",
    "PipelineStage",
    "TrainingPipeline",
}
OURS = {
    "Experiment",
    "Validation",
    "load_policy",
    "StopWhenMetricReaches",
    "TrainctlError",
    "ExperimentError",
    "__version__",
}


def test_the_names_of_the_api_page_and_ours_are_exported_and_no_others() -> None:
    assert set(trainctl.__all__) == API_PAGE | OURS
    assert all(hasattr(trainctl, name) for name in trainctl.__all__)


@pytest.mark.parametrize("name", sorted((API_PAGE | OURS) - {"__version__"}))
def test_every_name_says_what_it_means(name: str) -> None:
    doc = getattr(trainctl, name).__doc__
    assert doc
    assert not doc.startswith(f"{name}(")  # what dataclass and NamedTuple write where nobody wrote anything


@pytest.mark.parametrize("name", trainctl.losses.__all__)
def test_every_loss_says_what_it_means(name: str) -> None:
    assert inspect.getdoc(getattr(trainctl.losses, name))


@pytest.mark.parametrize(
    ("declaration", "first"),
    [
        (trainctl.OffPolicyPipelineComponent, ["data_iterator_builder", "loss_names", "updates", "loss_weights"]),
        (trainctl.PipelineStage, ["loss_names", "max_stage_steps", "loss_weights", "teacher_forcing"]),
        (trainctl.TrainingPipeline, ["named_losses", "pipeline_stages", "optimizer_builder", "num_mini_batch"]),
        (trainctl.Experiment, ["environment", "num_envs", "model", "pipeline"]),
    ],
)
def test_arguments_come_in_the_order_of_the_api_page(declaration: type, first: list[str]) -> None:
    assert list(inspect.signature(declaration).parameters)[:4] == first


def test_the_version_is_the_installed_one() -> None:
    assert trainctl.__version__ == version("trainctl")


def test_importing_the_words_imports_no_torch() -> None:
    program = "import trainctl, sys; print([name for name in ('torch', 'gymnasium') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
