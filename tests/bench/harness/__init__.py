"""The benchmark harness: starts servers and proxies, loads them, reads what they spent, prints tables."""
