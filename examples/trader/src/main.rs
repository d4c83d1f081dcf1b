//! The trader as the main of a sandboxed program.

fn main() -> std::process::ExitCode {
    hersh::main(trader::trader)
}
