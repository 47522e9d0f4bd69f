from imports_itself import STEPS

STEPS = STEPS + 1


def experiment():
    return STEPS
