"""Parameters of the evaluation by lm-eval."""

from pairloop.params.settings import Count, Iterations, NotNegativeInt, Section, Text, Texts


class LmEval(Section):
    """Which tasks of EleutherAI's lm-eval are run, on which iterations. `make lm-eval` sets the first two."""

    tasks: Texts = ()
    """Names of tasks or groups of tasks, as `lm_eval ls tasks` lists them."""

    iterations: Iterations = ()
    """The iterations whose models run them; 0 is the base. Empty: none."""

    limit: Count | None = None
    """Only the first so many examples of each task, to try it out. null: all of them."""

    include_path: Text | None = None
    """Folder with task files of the user's own. null: lm-eval's tasks alone."""

    few_shot: NotNegativeInt | None = None
    """Solved examples that stand before each question. null: as many as the task says."""

    chat: bool = True
    """Put each question into the model's chat format, as `generate` and `eval` do."""

    batch_size: Count = 8
    """Requests that the model reads together."""
