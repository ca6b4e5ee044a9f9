"""The review page: an inbox, a kernel's page, decisions by keyboard. Needs the `web` extra."""
