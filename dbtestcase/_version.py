"""The version of the package, as in its metadata."""

VERSION = "0.1.0"
