"""Numbers from scores and from texts that several nouns need: rankers, pairing and evaluation alike.

They know nothing of models, prompts or files. What belongs to one noun alone stays with it: how a ranker behaved is in
`rankers.quality`, how one model's answers compare with another's in `evaluation`.
"""
