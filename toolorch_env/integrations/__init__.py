"""One small module for each trainer, each an extra."""
