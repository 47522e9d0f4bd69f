from trainctl import PipelineStage


def experiment():
    return PipelineStage(["ppo"], 1_000, teacher_forcing=LinearDecay(1_000))  # noqa: F821
