"""Files as they lie on the disk: parquet and JSON with a fixed form, lines of JSON that people write, and locks.

What stands in them is the business of the nouns that write and read them.
"""
