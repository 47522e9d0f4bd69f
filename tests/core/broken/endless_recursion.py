def steps(number: int) -> int:
    return steps(number + 1)


def experiment():
    return steps(0)
