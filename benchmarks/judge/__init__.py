"""What benchmarks/quality.py judges compressors by: cases, methods, metrics, a reader, and reports."""
