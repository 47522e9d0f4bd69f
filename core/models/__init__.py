"""Ready actor-critics."""
