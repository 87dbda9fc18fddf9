"""Where passages, queries and judgements come from."""
