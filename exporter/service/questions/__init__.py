"""What the API answers about a model."""
