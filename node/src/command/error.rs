//! Why a command is refused, in the server's words.

use std::borrow::Cow;

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
    /// The whole text, its code in front: `ERR min or max is not a float`.
    Text(Cow<'static, str>),
}

impl CommandError {
    /// An error with a text of its own, its code in front.
    pub(crate) fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Text(text.into())
    }

    /// The text of the reply without the leading `-`; `command` is the name of the command as it
    /// is in the table.
    pub(crate) fn reply_text(&self, command: &str) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            Self::NotAnInteger => "ERR value is not an integer or out of range",
            Self::NotAFloat => "ERR value is not a valid float",
            Self::Syntax => "ERR syntax error",
            Self::NoSuchKey => "ERR no such key",
            Self::IndexOutOfRange => "ERR index out of range",
            Self::MustBePositive => "ERR value is out of range, must be positive",
            Self::WrongArity => {
                return Cow::Owned(format!(
                    "ERR wrong number of arguments for '{command}' command"
                ));
            }
            Self::Text(text) => text,
        })
    }
}
