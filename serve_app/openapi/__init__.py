"""The OpenAPI document, its schemas and the reference of error codes."""
