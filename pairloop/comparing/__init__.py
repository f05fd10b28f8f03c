"""Two runs side by side: what was set differently, and what came of it on the prompts that both answered.

`runs` has the numbers, `page` draws them. What one run came to by itself is in `report`.
"""
