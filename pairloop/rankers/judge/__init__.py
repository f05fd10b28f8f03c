"""A language model that is asked how good responses are, here or behind an endpoint."""
