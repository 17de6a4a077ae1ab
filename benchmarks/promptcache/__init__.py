"""What benchmarks/prompt_cache.py is made of: a provider's prompt cache, workloads, arms, a table."""
