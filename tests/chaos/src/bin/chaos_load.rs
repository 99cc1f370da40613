//! `chaos-load`: see `load` in the library. Prints its report as one line of JSON; the status is 0
//! whatever it found, as the one who reads it knows what was to be expected.

use std::io::Write as _;
use std::process::ExitCode;

use slotway_chaos::load;

fn main() -> ExitCode {
    let report = load::parse_arguments(std::env::args().skip(1)).and_then(load::run);
    let written = report.and_then(|report| Ok(writeln!(std::io::stdout(), "{report}")?));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "chaos-load: {error}");
            ExitCode::FAILURE
        }
    }
}
