"""Several processes that serve together: `laconic serve --workers N`.

A small parent holds the listening sockets, starts the others and replaces those that die (`supervisor`). Workers serve;
what runs a model runs in one process for all of them (`compressing`), which they reach over a socket (`remote`,
`frames`). Whoever is asked for metrics answers for all (`totals`). `start` puts it together.
"""
