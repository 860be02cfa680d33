"""How many tokens a block has: estimated from what it is made of, corrected by the usage that comes back.

Bedrock's CountTokens refuses the newest models and a tokenizer costs several times the call itself, so nothing is
tokenized here.
"""

from pointsman.tokens.counter import EstimatedTokens, TokenCounter

__all__ = ["EstimatedTokens", "TokenCounter"]
