"""What trainctl does for you. An experiment never imports this."""
