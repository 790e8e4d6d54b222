"""How plans and runs look: on a terminal, piped, and as JSON."""
