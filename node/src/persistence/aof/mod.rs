//! The append-only file: which files it consists of, and commands from their bytes. A driver opens,
//! reads and writes them.

mod input;
mod log;
pub(crate) mod manifest;
mod position;
mod rewriting;
mod words;

pub(crate) use input::{AofInput, Next};
pub(crate) use log::{AppendLog, LogState};
pub(crate) use position::{LoggedPosition, annotation};
pub(crate) use rewriting::has_grown;
