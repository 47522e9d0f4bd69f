experiment = {"environment": "CartPole-v1"}
