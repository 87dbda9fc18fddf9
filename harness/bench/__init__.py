"""Benchmarks anyone can run again: `harness bench decode`, `harness bench trie`, `harness bench beams`."""
