from __future__ import annotations

from tests.core.engine.reporting.test_reporting import package
from trainctl.core.engine.reporting.wandb_sink import WandbSink


class Recorded:
    """Stands where the run of Weights & Biases would."""

    def __init__(self) -> None:
        self.told: list[tuple[int, dict[str, float]]] = []
        self.is_over = False

    def log(self, means: dict[str, float], step: int, commit: bool) -> None:
        self.told.append((step, means))

    def finish(self) -> None:
        self.is_over = True


def test_it_is_told_of_an_interval_when_a_checkpoint_holds_it_and_at_the_end() -> None:
    run = Recorded()
    sink = WandbSink(run)
    sink.write(package(100, means={"episode/return": 1.0, "loss/total": float("nan")}))
    sink.write(package(100, kind="valid", means={"valid/return": 2.0}))
    assert run.told == []
    assert sink.state_dict() == {"told": 100}
    assert run.told == [(100, {"pipeline/stage": 1.0, "episode/return": 1.0, "valid/return": 2.0})]
    sink.write(package(200, should_log=False))
    sink.write(package(300, means={}))
    sink.close()
    assert run.told[1:] == [(300, {"pipeline/stage": 1.0})]
    assert run.is_over


def test_a_validation_before_what_was_told_already_stands_just_after() -> None:
    run = Recorded()
    before, sink = WandbSink(Recorded()), WandbSink(run)
    before.write(package(100, means={}))
    sink.load_state_dict(before.state_dict())
    sink.write(package(100, kind="valid", means={"valid/return": 2.0}))
    sink.write(package(200, means={}))
    sink.close()
    assert run.told == [(101, {"valid/return": 2.0}), (200, {"pipeline/stage": 1.0})]
