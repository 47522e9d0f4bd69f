import habitat_simulator


def experiment():
    return habitat_simulator
