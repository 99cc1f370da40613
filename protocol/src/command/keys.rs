//! Where a request's keys are.

use super::Command;
use crate::resp::Request;

/// How to find some of a command's keys: where to begin, and how far it goes.
#[derive(Debug)]
pub struct KeySpec {}

/// Why the keys of a request can't be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    #[error("Invalid arguments specified for command")]
    InvalidArguments,
}

/// Calls `visit` with the argument position of each key of a well-formed request (arity checked).
pub fn each_key(
    command: &Command,
    request: &Request<'_>,
    visit: &mut dyn FnMut(usize),
) -> Result<(), KeysError> {
    let _ = (command, request, visit);
    unimplemented!()
}
