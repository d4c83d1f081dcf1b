//! The look-out as the main of a sandboxed program.

fn main() -> std::process::ExitCode {
    hersh::main(uptime::uptime)
}
