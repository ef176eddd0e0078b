"""Models on a server with OpenAI's interface: `kind: api` (extra api)."""
