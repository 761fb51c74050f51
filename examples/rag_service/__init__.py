"""A small retrieval-augmented service. It imports nothing that handles feedback: that is the point of the example."""
