"""The checkpoints that the authors published, turned into the models of this package."""
