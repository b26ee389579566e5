"""The HTTP API: who may not reach the broker submits jobs here, and watches them."""
