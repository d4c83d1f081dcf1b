//! The runtime against a real Docker Engine with real gVisor. `make test` brings both.

mod builds;
mod confinement;
mod engine_faults;
mod life;
mod logs;
mod meddler;
mod network;
mod starts;
mod world;
