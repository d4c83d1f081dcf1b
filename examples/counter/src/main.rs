//! The counter as the main of a sandboxed program.

fn main() -> std::process::ExitCode {
    hersh::main(counter::counter)
}
