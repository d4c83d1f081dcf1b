//! Attacks on the proxy, byte by byte: a client and a program that keep no rule, and between them
//! the host as it is, with its HTTP server, its routes and its token. Each test says what the
//! program saw and what the client got.

mod clock;
mod crowds;
mod dead;
mod framing;
mod hostile;
mod large;
mod manifest;
mod passing;
mod paused;
mod revoked;
mod secrets;
mod slow;
mod speech;
mod targets;
mod tunnels;
mod ways;
mod world;
