//! Commands that a node knows and the table does not: those of modules and of newer servers. Read
//! from the node's reply to COMMAND, they are commands like the table's.

mod entry;
mod pool;

use std::collections::BTreeMap;

use self::entry::{Entry, NAME_BYTES_MAX};
use super::{Command, Group, Refusal, lookup};
use crate::resp::ReplyError;
use crate::resp::value::{Token, TokenReader, without_attributes};

/// What a node taught, never changed.
///
/// A [`Command`] is meant to live as long as the process, so what is learned is never given back.
/// It is bounded all the same: the same command is kept once however often it is learned, and a
/// process learns 2,048 commands in its life at most, with names of up to 64 bytes. What comes
/// after them is left out.
#[derive(Debug, Default)]
pub struct Learned {
    /// By name in lower case; a subcommand's has its container's before it.
    commands: BTreeMap<Box<[u8]>, Known>,
    left_out: usize,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    command: &'static Command,
    /// It has subcommands, all of which are learned.
    is_container: bool,
}

/// Why nothing, or not this command, can be learned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LearnError {
    #[error("the reply to COMMAND is an error: {0}")]
    Refused(String),
    #[error("the reply to COMMAND has the wrong form")]
    Malformed,
    #[error("the reply to COMMAND can't be read: {0}")]
    Unreadable(#[from] ReplyError),
    #[error("too many commands were learned before")]
    Full,
}

impl Learned {
    /// What a whole reply to COMMAND tells, in RESP2 or RESP3. An entry that makes no sense is left
    /// out, and so is one that there is no room for.
    pub fn parse(reply: &[u8]) -> Result<Self, LearnError> {
        let mut reader = TokenReader::new(without_attributes(reply)?);
        let entries = match reader.next_token()? {
            Some(Token::Array(entries) | Token::Set(entries)) => entries,
            Some(Token::Error(text)) => {
                let text = String::from_utf8_lossy(text).into_owned();
                return Err(LearnError::Refused(text));
            }
            _ => return Err(LearnError::Malformed),
        };
        let mut learned = Self::default();
        for _ in 0..entries {
            if learned.learn(reader.next_value()?).is_err() {
                learned.left_out += 1;
            }
        }
        Ok(learned)
    }

    /// The learned command of that name, in any case. A subcommand has its container's name and a
    /// bar before its own.
    pub fn lookup(&self, name: &[u8]) -> Option<&'static Command> {
        self.known(name).map(|known| known.command)
    }

    /// All learned commands in the order of their names, but for subcommands.
    pub fn commands(&self) -> impl Iterator<Item = &'static Command> {
        self.all().filter(|command| command.own_name == 0)
    }

    /// The learned subcommands of a container, which may itself be in the table.
    pub fn subcommands(&self, container: &Command) -> impl Iterator<Item = &'static Command> {
        let name = container.name.as_bytes();
        let first = joined(name, b"").map(|(name, len)| name[..len].into());
        let first: Box<[u8]> = first.unwrap_or_default();
        let of_container = move |command: &&Command| {
            let own = usize::from(command.own_name);
            own == name.len() + 1 && command.name.as_bytes()[..own - 1].eq_ignore_ascii_case(name)
        };
        let rest = self.commands.range(first..);
        rest.map(|(_, known)| known.command)
            .take_while(of_container)
    }

    /// All learned commands and subcommands in the order of their names.
    pub fn all(&self) -> impl Iterator<Item = &'static Command> {
        self.commands.values().map(|known| known.command)
    }

    /// How many commands and subcommands are learned.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// How many entries of the reply made no sense, or one too many.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The command of a request that the table does not have, or why there is none.
    #[cold]
    pub(super) fn find(
        &self,
        name: &[u8],
        subcommand: Option<&[u8]>,
        refusal: Refusal,
    ) -> Result<&'static Command, Refusal> {
        let container = match (refusal, self.known(name)) {
            (Refusal::UnknownCommand, Some(known)) => known,
            (Refusal::UnknownSubcommand, _) => {
                return self.subcommand(name, subcommand).ok_or(refusal);
            }
            _ => return Err(refusal),
        };
        if !container.is_container || subcommand.is_none() {
            return Ok(container.command);
        }
        self.subcommand(name, subcommand)
            .ok_or(Refusal::UnknownSubcommand)
    }

    fn subcommand(&self, container: &[u8], name: Option<&[u8]>) -> Option<&'static Command> {
        let (full, len) = joined(container, name?)?;
        Some(self.commands.get(&full[..len])?.command)
    }

    fn known(&self, name: &[u8]) -> Option<Known> {
        let mut lower = [0; NAME_BYTES_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        self.commands.get(&*lower).copied()
    }

    /// Takes one entry, and the subcommands in it, as far as the table does not have them.
    fn learn(&mut self, entry: &[u8]) -> Result<(), LearnError> {
        let entry = Entry::read(entry)?;
        if entry.name.contains('|') {
            return Err(LearnError::Malformed);
        }
        let group = match lookup(entry.name.as_bytes()) {
            Some(known) if known.subcommands.is_empty() => return Ok(()),
            Some(known) => known.group,
            None => {
                let command = entry.keep(None)?;
                self.insert(command, !entry.subcommands.is_empty());
                command.group
            }
        };
        for subcommand in &entry.subcommands {
            if self
                .learn_subcommand(entry.name, subcommand, group)
                .is_err()
            {
                self.left_out += 1;
            }
        }
        Ok(())
    }

    fn learn_subcommand(
        &mut self,
        container: &str,
        entry: &[u8],
        group: Group,
    ) -> Result<(), LearnError> {
        let entry = Entry::read(entry)?;
        let own_name = match entry.name.split_once('|') {
            Some((prefix, own_name)) if prefix.eq_ignore_ascii_case(container) => own_name,
            _ => return Err(LearnError::Malformed),
        };
        let in_table = lookup(container.as_bytes())
            .is_some_and(|known| known.subcommand(own_name.as_bytes()).is_some());
        if !in_table {
            self.insert(entry.keep(Some(group))?, false);
        }
        Ok(())
    }

    fn insert(&mut self, command: &'static Command, is_container: bool) {
        let name = command.name.to_ascii_lowercase().into_bytes();
        let known = Known {
            command,
            is_container,
        };
        self.commands.insert(name.into(), known);
    }
}

/// A command is kept once, so the same set is the same commands.
impl PartialEq for Learned {
    fn eq(&self, other: &Self) -> bool {
        self.all()
            .map(|command| command.id)
            .eq(other.all().map(|command| command.id))
    }
}

impl Eq for Learned {}

/// The learned command at that place in the order of their ids.
///
/// # Panics
/// When there is none.
pub(super) fn by_place(place: usize) -> &'static Command {
    pool::kept(place).expect("the ids of commands are made with the commands")
}

/// A subcommand's full name in lower case; `None` when no command can have such a long one.
fn joined(container: &[u8], name: &[u8]) -> Option<([u8; NAME_BYTES_MAX], usize)> {
    let mut full = [0; NAME_BYTES_MAX];
    let (bar, len) = (container.len(), container.len() + 1 + name.len());
    full.get_mut(..len)?[..bar].copy_from_slice(container);
    full[bar] = b'|';
    full[bar + 1..len].copy_from_slice(name);
    full[..len].make_ascii_lowercase();
    Some((full, len))
}
