"""A service, its users and a stand-in for its model provider, to see otel-feedback at work."""
