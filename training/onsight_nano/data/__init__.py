"""Synthetic pictures with questions, answers and training-only dense labels."""
