from pieces import fails


def experiment():
    return fails(steps=1_000)
