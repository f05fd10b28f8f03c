"""The report: one HTML file that says whether the run helped, what it cost, and what the models wrote.

`page.render(data.ReportData(...))` returns the page as text. It is a function of its inputs alone: no time, host, path
or network gets in, and equal inputs give equal bytes. What goes in is what the steps wrote down, as plain mappings:

pool
    `rows_in`, `rows_out`, `dropped` {reason: rows}, `eval_rows_in`, `eval_rows_out`, `eval_dropped` {reason: rows},
    `with_constraints` (prompts), `by_source` {source: prompts}.
teacher (None where the run trained none, be it to rank or to judge)
    `pairs`, `held_out_pairs`, `held_out_accuracy` (share), `by_kind` {kind of spoiled answer: accuracy},
    `length_correlation` (-1 to 1 or None), `hacks` {hack: share of good answers that their hacked version beats}, and,
    where known, `prompts` (whose constructed pairs were learnt from), `preferences` {`rows`, `duplicates`}, `layer`,
    `regularisation`, `learning_curve` (rows of `pairs`, `accuracy`, `low`, `high`) and `last_doubling` None or
    {`pairs_before`, `pairs`, `gain`, `low`, `high`}.
iterations, one `Iteration` each, from 1 on
    generate: `rows_in`, `rows_out`, `dropped`, `responses`, `tokens`, `mean_tokens`, `truncated_share`.
    rank: `rows_in`, `rows_out`, `dropped`, `responses`, `ties`, `length_correlation`, `constraint_share`, `ranker`,
    `position_bias` (share or None), `margins` {`edges`, `counts`}, `second` None or {`ranker`, `best_over_worst`,
    `rank_correlation`}.
    pair: `rows_in`, `rows_out`, `dropped`, `train_pairs`, `test_pairs`, `files` (`train` and `test`, each with
    `num_examples`, `num_bytes`, `sha256`), `mean_margin` (in the ranker's unit), `chosen_words`, `rejected_words`
    (means), `chosen_refusals`, `rejected_refusals` (shares), `length_correlation`, and `uncontrolled_chosen_words`,
    `uncontrolled_rejected_words`, `uncontrolled_length_correlation`, the same as if nothing controlled length.
    train: `rows_in`, `rows_out`, `dropped`, `steps`, `loss_first`, `loss_last`, and `before` and `after`, each with
    `accuracy`, `margin`, `logp_accuracy` on the held-out pairs, or None where there are none.
    curve: rows of `step` (from 1, in each iteration), `loss`, `margin`, `accuracy`.
    prompts, where known: `rows_out`, of the slice of the pool.
models, one mapping each, from iteration 0 (the base model) on
    `prompts`, `judged` (those whose answers judges compared: where they are fewer, those without constraints),
    `win_rate` {judge: {`win_rate`, `low`, `high`, `teacher` (did it rank the training data?), and, where it
    was computed, `length_controlled`, `orders` (2: asked in both) and `previous` {`win_rate`, `low`, `high`}, against
    the iteration before}, and `unconstrained` None or {`prompts`, `win_rate`, `low`, `high`}, on prompts without
    constraints} (not read for iteration 0), `constraints` None or {`prompts`, `pass_rate`, `low`, `high`, `gain`,
    `gain_low`, `gain_high`, `beyond_length` and `like_length`, each None or the same of what length has no part in,
    `in_full`, the same where answers that loop or have next to no words satisfy nothing,
    and `by_kind` {kind: `prompts`, `pass_rate`, `base`}}, `mean_words`, `mean_tokens`, `truncated_share`,
    `repetitive_share`, `echoing_share`, and, where known, `empty_share`, `temperature`, `agreement` (rows of
    `judges`, two names,
    `prompts`, on which both prefer a side, `same`, the share with the same side, and `kappa`) and `further`: rows of
    the same in other settings, with a `temperature`, `best_of` (the best of so many answers, picked by `ranker`) or a
    `factor` (the model moved on by it). Rates and shares are from 0 to 1; `low` and `high` are the ends of 95 %
    intervals.
times
    rows of `stage`, `iteration` (None outside the loop), `seconds` and, where known, `tokens_per_second` and
    `peak_memory_mb` (MiB).
samples
    rows of `iteration`, `prompt`, `constraints` (list or None), `responses`, `scores`, `finish_reasons` (`length` marks
    a text that was cut off), `chosen` and `rejected` (index or None), `reason` (why there is no pair), `split`
    (`train`, `test` or None).
answers
    rows of `prompt`, `constraints`, `outputs` (one text per model, from iteration 0 on), `passes` (True, False or None
    per model), `met` (the same per model and constraint), and, where known, `source`, `cut_off` (per model) and
    `wins` (per model {judge: share of its samples
    that win against the base model's, ties half}; not read for iteration 0).
watches, by iteration
    `measures` {name: `value`, `base`, `change_low`, `change_high`, `alarm`, `unit` (`share` is shown in percent) and
    `prompts`}, and `alarms`, sentences.
annotated
    rows of `name` (`iteration_n`, or another model's), `annotator`, `reference`, `win_rate` (percent, as all rates
    here), `verdicts`, and, where known, `judged_on`, `low`, `high`, `standard_error`, `length_controlled` with
    `length_controlled_form` (`full` or `minimal`), `mean_characters`, `without_verdict`.
ifeval, by iteration
    `prompts`, `covered`, `strict` and `loose`, each None or {`prompt`, `low`, `high`, `instruction`,
    `instruction_low`, `instruction_high`}, `by_kind` {kind: `instructions`, `strict`, `loose`}, `not_covered`
    {kind: instructions}.
preferences, by iteration
    `pairs`, `preferred` and `moved` {`share`, `low`, `high`}, `margin` and `gain` {`nats`, `low`, `high`}, `judge`
    {`accuracy`, `win_rate`, `low`, `high`, `length_controlled`}; of iteration 0 `moved`, `gain` and the judge's last
    four are None.
lm_eval, by iteration
    {task: `metrics` {name: value, and name with `_stderr`}}.
published
    The parameters of the published run.

A number that is None or not finite is shown as a dash; a missing key is an error.
"""
