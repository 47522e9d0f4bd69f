from pieces import MODEL


def experiment(num_envs: int = 4):
    print(MODEL, num_envs)
