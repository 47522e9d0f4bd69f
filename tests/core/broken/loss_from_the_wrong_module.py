from trainctl import PPO, Builder


def experiment():
    return Builder(PPO)
