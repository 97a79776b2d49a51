"""How well a collection answers: judged queries, the runs of a search over them, and figures from both."""
