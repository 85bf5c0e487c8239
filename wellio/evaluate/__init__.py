"""`bin/evaluate`: how good the models are on a history, beside what else could have been used.

The history goes through the product's own code, in the order in which it would have come; nothing is stored, and no
database is needed. Rivals answer the same questions with what was known when they were asked.
"""
