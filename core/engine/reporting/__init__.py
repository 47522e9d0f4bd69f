"""What a training says while it runs: metrics, TensorBoard, films, where the time goes."""
