"""A rollout in; other weights out."""
