from trainctl import Experiment


def helper() -> int:
    return 3


def experimnt() -> Experiment:
    return Experiment("CartPole-v1", helper(), None, None)
