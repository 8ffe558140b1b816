"""Methods that change how a model is asked, not the model."""
