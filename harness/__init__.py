"""Run retrieval paradigms side by side on the same split and measure them from outside."""

__version__ = "0.1.0"
