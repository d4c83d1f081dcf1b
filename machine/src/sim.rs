//! The seeded simulator and its laws.
