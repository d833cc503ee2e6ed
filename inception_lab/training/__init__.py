"""Training: recipe, trainer, run folders."""
