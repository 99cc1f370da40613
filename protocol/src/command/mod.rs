//! The commands of Redis 7.0 as data: what router, merge, metrics and both `COMMAND` replies read.

mod flags;
pub mod keys;
pub mod policy;
mod table;

pub use flags::Flags;
pub use keys::{KeySpec, KeysError};
pub use policy::{RequestPolicy, ResponsePolicy};

/// A command, or a subcommand of one.
#[derive(Debug)]
pub struct Command {
    /// A number of its own, dense from 0 to [`Command::count`], subcommands included.
    pub id: CommandId,
    /// In lower case; a subcommand's name has its container before it: `client|list`.
    pub name: &'static str,
    /// The number of arguments with the name; negative for "at least".
    pub arity: i8,
    pub flags: Flags,
    /// The positions of the keys in the form of the legacy `COMMAND` reply.
    pub first_key: i8,
    pub last_key: i8,
    pub key_step: i8,
    pub key_specs: &'static [KeySpec],
    /// Command tips, policies included, as `COMMAND INFO` lists them.
    pub tips: &'static [&'static str],
    /// ACL categories, with the `@`.
    pub categories: &'static [&'static str],
    pub request_policy: RequestPolicy,
    pub response_policy: ResponsePolicy,
    pub subcommands: &'static [Command],
}

/// A command's place in tables indexed by command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandId(pub u16);

/// The command of that name, in any case.
#[inline]
pub fn lookup(name: &[u8]) -> Option<&'static Command> {
    let _ = name;
    unimplemented!()
}

/// All commands, without subcommands, in the order of their names.
pub fn all() -> &'static [Command] {
    unimplemented!()
}

impl Command {
    /// How many ids there are.
    pub fn count() -> usize {
        unimplemented!()
    }

    /// The command or subcommand with that id.
    pub fn by_id(id: CommandId) -> &'static Self {
        let _ = id;
        unimplemented!()
    }

    /// The subcommand of that name, in any case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Self> {
        let _ = name;
        unimplemented!()
    }

    /// Whether a request with that many arguments, the name included, is well formed.
    #[inline]
    pub fn accepts(&self, arguments: usize) -> bool {
        let arity = i64::from(self.arity);
        if arity >= 0 {
            arguments as i64 == arity
        } else {
            arguments as i64 >= -arity
        }
    }
}
