//! A TCP load generator that does not mislead.
