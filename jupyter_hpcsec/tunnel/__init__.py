"""The authenticated outbound tunnel: frames, lanes, control connection, gateway and agent."""
