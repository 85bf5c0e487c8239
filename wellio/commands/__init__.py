"""Commands for operators: on this project's database, or by the REST API on a Wellio elsewhere."""
