"""The teacher that the pipeline trains: pairs to learn from, a head on hidden states, or an encoder."""
