from trainctl import Experiment


async def experiment() -> Experiment:
    return Experiment("CartPole-v1", 4, None, None)
