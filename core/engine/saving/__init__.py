"""The run directory and its checkpoints, written, checked, kept, and gone on from."""
