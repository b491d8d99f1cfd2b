"""What bytes mean: framing, codecs, typed channels. Empty so far."""
