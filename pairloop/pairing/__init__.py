"""Scores to preferences: which response of a prompt is chosen, which rejected, and which prompts give no pair.

`choosing` looks at one prompt, `rules` at all of an iteration's, where a setting needs that; `pairs` makes the rows,
and `summary` the figures about them. Who scores is in `rankers`.
"""
