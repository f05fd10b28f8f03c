"""What a run will take, before it starts: hours, memory, disk and money, and what would stop it.

Pure functions of parameters, counts and figures. docs/performance.md gives the model, its constants and their sources.
"""
