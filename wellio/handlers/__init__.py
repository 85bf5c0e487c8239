"""The REST API: one file a noun, the route registry, middlewares and the status map."""
