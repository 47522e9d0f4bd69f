"""Staged training of reinforcement-learning agents."""
