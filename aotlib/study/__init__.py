r"""User studies: which fills people prefer, planned beforehand, asked in a browser, and analysed with its uncertainty.

One direction: `plan` (what is shown to whom) -> answers (a file a rater) -> `answers.votes` (a row an answer) ->
`analysis` (rates, abilities, agreement, figures). `simulate` stands in for raters, and what it made is called
simulated wherever it is shown. Taught in notebook 09.
"""
