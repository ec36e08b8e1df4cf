"""The east wing: what was recorded, made visible again. Anywhere, live or later; never inside the traced program.

source < names, index < lives < segment < process < state < history < spans, waits, stats, describe < moment < lints < reader
"""
