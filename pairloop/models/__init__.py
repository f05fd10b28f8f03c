"""Where a model comes from and how it reads text: references, what is fetched and kept, whether it
suits, chat templates, packed weights.

What is done with a model (sampling, ranking, training) is elsewhere.
"""
