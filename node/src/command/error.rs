//! Why a command is refused, in the server's words.

use std::borrow::Cow;

use slotway_protocol::command::Command;
use slotway_protocol::resp::encode;

/// An error reply. A command returns it before it has written anything to its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CommandError {
    /// The key holds another type.
    WrongType,
    NotAnInteger,
    NotAFloat,
    Syntax,
    NoSuchKey,
    IndexOutOfRange,
    /// `value is out of range, must be positive`
    MustBePositive,
    /// Too few or too many arguments for the command that is running.
    WrongArity,
    /// Not positive, or too far away, for the command that is running.
    InvalidExpireTime,
    /// The whole text, its code in front: `ERR min or max is not a float`.
    Text(Cow<'static, str>),
    /// The same, of bytes that a client sent and that may be no text.
    Bytes(Box<[u8]>),
}

impl CommandError {
    /// An error with a text of its own, its code in front.
    pub(crate) fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Text(text.into())
    }

    /// The same error with the name of the command in it, if it is told by that.
    #[cold]
    pub(crate) fn of(self, command: &Command) -> Self {
        match self {
            Self::WrongArity => Self::text(format!(
                "ERR wrong number of arguments for '{}' command",
                command.name
            )),
            Self::InvalidExpireTime => Self::text(format!(
                "ERR invalid expire time in '{}' command",
                command.name
            )),
            other => other,
        }
    }

    /// Appends the reply.
    #[cold]
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bytes(text) => encode::error(out, text),
            other => encode::error(out, other.reply_text().as_bytes()),
        }
    }

    /// The text of the reply without the leading `-`.
    fn reply_text(&self) -> &str {
        match self {
            Self::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            Self::NotAnInteger => "ERR value is not an integer or out of range",
            Self::NotAFloat => "ERR value is not a valid float",
            Self::Syntax => "ERR syntax error",
            Self::NoSuchKey => "ERR no such key",
            Self::IndexOutOfRange => "ERR index out of range",
            Self::MustBePositive => "ERR value is out of range, must be positive",
            Self::WrongArity => "ERR wrong number of arguments",
            Self::InvalidExpireTime => "ERR invalid expire time",
            Self::Text(text) => text,
            Self::Bytes(_) => "ERR",
        }
    }
}
