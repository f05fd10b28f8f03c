"""Pairs and a policy to the next policy: DPO by TRL's trainer, its checkpoints, and what is written.

Which responses become pairs is `pairing`'s business.
"""
