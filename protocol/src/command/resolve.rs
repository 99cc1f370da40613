//! From a request to its command or subcommand, and the server's words when there is none.

use super::{Command, Learned, lookup};
use crate::resp::{Request, encode};

/// The command, or for a container the subcommand, that a request is for. Its arity is right.
#[inline]
pub fn resolve(request: &Request<'_>) -> Result<&'static Command, Refusal> {
    resolve_with(request, None)
}

/// Like [`resolve`], with the commands that were learned behind those of the table.
#[inline]
pub fn resolve_with(
    request: &Request<'_>,
    learned: Option<&Learned>,
) -> Result<&'static Command, Refusal> {
    let command = find_with(learned, request.len(), |index| request.arg(index))?;
    if !command.accepts(request.len()) {
        return Err(Refusal::WrongArity(command));
    }
    Ok(command)
}

/// Why a request can't be executed anywhere.
#[derive(Debug, Clone, Copy)]
pub enum Refusal {
    UnknownCommand,
    /// The container has no such subcommand.
    UnknownSubcommand,
    WrongArity(&'static Command),
}

impl Refusal {
    /// Appends the error reply to the request that was refused.
    #[cold]
    pub fn write(self, request: &Request<'_>, out: &mut Vec<u8>) {
        let mut text = match self {
            // A transaction never outlives its EXEC, so its refusal says that it is gone.
            Self::WrongArity(command) if command.name == "exec" => {
                b"EXECABORT Transaction discarded because of: ".to_vec()
            }
            _ => b"ERR ".to_vec(),
        };
        match self {
            Self::UnknownCommand => {
                text.extend_from_slice(b"unknown command '");
                text.extend_from_slice(printed(request.arg(0), NAME_BYTES_MAX));
                text.extend_from_slice(b"', with args beginning with: ");
                push_arguments(&mut text, request);
            }
            Self::UnknownSubcommand => {
                text.extend_from_slice(b"unknown subcommand '");
                text.extend_from_slice(printed(request.arg(1), NAME_BYTES_MAX));
                text.extend_from_slice(b"'. Try ");
                text.extend(request.arg(0).to_ascii_uppercase());
                text.extend_from_slice(b" HELP.");
            }
            Self::WrongArity(command) => {
                text.extend_from_slice(b"wrong number of arguments for '");
                text.extend_from_slice(command.name.as_bytes());
                text.extend_from_slice(b"' command");
            }
        }
        encode::error(out, &text);
    }
}

/// The command or subcommand of a request with `len` arguments, arity not considered. A container
/// that stands alone is itself the command.
#[inline]
pub(super) fn find<'a>(
    len: usize,
    argument: impl Fn(usize) -> &'a [u8],
) -> Result<&'static Command, Refusal> {
    let command = lookup(argument(0)).ok_or(Refusal::UnknownCommand)?;
    if command.subcommands.is_empty() || len == 1 {
        return Ok(command);
    }
    command
        .subcommand(argument(1))
        .ok_or(Refusal::UnknownSubcommand)
}

/// Like [`find`], with the commands that were learned behind those of the table.
#[inline]
pub(super) fn find_with<'a>(
    learned: Option<&Learned>,
    len: usize,
    argument: impl Fn(usize) -> &'a [u8],
) -> Result<&'static Command, Refusal> {
    match (find(len, &argument), learned) {
        (Err(refusal), Some(learned)) => {
            let subcommand = (len > 1).then(|| argument(1));
            learned.find(argument(0), subcommand, refusal)
        }
        (found, _) => found,
    }
}

/// The arguments behind the name in quotes, as many as begin before the limit.
fn push_arguments(text: &mut Vec<u8>, request: &Request<'_>) {
    let start = text.len();
    for argument in request.args(1) {
        let used = text.len() - start;
        if used >= ARGUMENT_BYTES_MAX {
            break;
        }
        text.push(b'\'');
        text.extend_from_slice(printed(argument, ARGUMENT_BYTES_MAX - used));
        text.extend_from_slice(b"' ");
    }
}

/// As much of an argument as the server prints: up to a limit and to the first zero byte.
fn printed(argument: &[u8], bytes_max: usize) -> &[u8] {
    let argument = &argument[..argument.len().min(bytes_max)];
    let end = memchr::memchr(0, argument).unwrap_or(argument.len());
    &argument[..end]
}

const NAME_BYTES_MAX: usize = 128;

/// Quotes and spaces around the arguments count too.
const ARGUMENT_BYTES_MAX: usize = 128;
