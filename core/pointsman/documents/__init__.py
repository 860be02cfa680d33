"""The documents that a session's retrievers returned, and where they go in its prompts.

Knows texts, sessions and Converse requests; knows no framework, and asks the cache's ledger only for what it learnt.
"""
