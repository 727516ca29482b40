//! TLS upstream.
