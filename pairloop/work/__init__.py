"""Work that survives a kill: shards that are stored when finished, here or on Ray.

What a shard computes is the business of who asks.
"""
