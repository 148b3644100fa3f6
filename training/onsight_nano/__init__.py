"""onsight-nano: a small SmolVLM that reads text, simple scenes and gauges, and everything needed to train it."""
