"""Encoders: rows of token ids in, one vector a token out. One engine a file; what they share is `Encoder`."""
