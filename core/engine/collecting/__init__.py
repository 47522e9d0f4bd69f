"""Environments and a model in; a rollout out, with values, returns and advantages."""
