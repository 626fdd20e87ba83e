"""Calls a Shortlist server; needs gRPC and protobuf, and neither torch nor a parser."""
