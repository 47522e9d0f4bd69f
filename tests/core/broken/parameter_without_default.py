from trainctl import Experiment


def experiment(
    learning_rate: float,
    num_envs: int = 4,
) -> Experiment:
    return Experiment("CartPole-v1", num_envs, learning_rate, None)
