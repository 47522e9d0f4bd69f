from peices import SETTINGS


def experiment():
    return SETTINGS
