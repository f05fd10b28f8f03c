"""Where prompts come from: sources, the pool without duplicates, each iteration's slice, and constraints.

Answers to prompts are in `samplers`.
"""
