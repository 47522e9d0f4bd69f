"""What commands other than `run` and `resume` do."""
