"""The HTTP API: whoever speaks it submits jobs here, and watches them."""
