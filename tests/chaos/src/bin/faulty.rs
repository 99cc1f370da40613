//! `faulty`: see the module of that name in the library.

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match slotway_chaos::faulty::run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "faulty: {error}");
            ExitCode::FAILURE
        }
    }
}
