"""A model that plays: validation, evaluation, films, demonstrations, one's own scripts."""
