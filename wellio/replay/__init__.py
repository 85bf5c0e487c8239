"""`bin/replay FILE`: takes a real history of events through the whole path, as a practice's past.

Writing and learning are two sides. This process writes: domain rows, events and its place in the file, a batch a
transaction, never far ahead of the learner. Whoever leads learns: the running Wellio if there is one, else this
process, which stands for leadership for as long as it writes. In the end the predictions made on the way are scored.
"""
