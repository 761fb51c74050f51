"""A small retrieval-augmented service. It knows nothing of feedback: that is the point of the example."""
