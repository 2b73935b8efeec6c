//! The program: everything is in the library, so that it can be tested.

use std::process::ExitCode;

fn main() -> ExitCode {
    jsplan::cli::run(std::env::args_os()).into()
}
