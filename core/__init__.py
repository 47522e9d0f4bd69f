"""What an experiment says: the words."""
