"""Modules that plug into methods.

They take features of a host and give features back, and may add terms to the host's loss. A host is handed a factory
and knows nothing of what it makes; a plugin is written without knowing its host. By default a host has the identity.
"""
