"""What every generative system stands on: backbone, training loop, trie, beam search."""
