"""Environments: building, vectorising, restoring."""
