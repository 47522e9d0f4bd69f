from trainctl import PipelineStages


def experiment():
    return PipelineStages
