"""Pairloop: sample, rank, pair, train, repeat; every step versioned.

This package holds the nouns: it knows no path of a project, no DVC and no params file, so everything in it can be
used from a notebook. The commands that dvc.yaml runs are in `stages/`.
"""
