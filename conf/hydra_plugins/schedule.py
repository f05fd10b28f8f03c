"""Work out `schedule` in params.yaml from `iterations`, `overrides` and the parameters that name files.

DVC can only loop over a mapping or list that is written out in params.yaml, and depend only on paths. Hydra imports
this file before DVC composes params.yaml (`plugins_path = conf` in .dvc/config), so `${schedule:...}` in
conf/schedule.yaml calls `schedule`. It may import nothing of the project: `dvc` may run in another environment.
"""

STEPS = ("generate", "rank", "pair", "train")
"""The steps whose parameters may differ from one iteration to another."""

FILES = {
    "base": ("model",),
    "pool": ("source", "eval_source"),
    "teach": ("preferences",),
    "encoder": ("model",),
    "rankers": ("pairrm", "llm_blender", "reward"),
    "judge": ("model",),
    "train": ("launcher",),
    "pair": ("published",),
}
"""Parameters that may name a file or folder of the user's own, on which dvc.yaml lets stages depend."""

NO_FILE = "conf/no_file"
"""Stands for a parameter that names none: something that is there and never changes."""

EARLIER = "data/iteration_{}/earlier.parquet"
"""The pairs of the iterations before one, with their tokens."""
