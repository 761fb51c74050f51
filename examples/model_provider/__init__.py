"""A stand-in for a model provider: OpenAI's HTTP interface, answered by extraction from the prompt."""
