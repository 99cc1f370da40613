//! The commands of Redis 7.0 as data: what router, merge, metrics and both `COMMAND` replies read.

mod flags;
mod index;
pub mod keys;
mod pattern;
pub mod policy;
pub mod reply;
pub mod resolve;
mod table;
mod words;

pub use flags::{Flags, KeyFlags};
pub use keys::{BeginSearch, FindKeys, KeySpec, KeysError};
pub use policy::{RequestPolicy, ResponsePolicy};
pub use resolve::{Refusal, resolve};

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
    /// In the order of their names.
    pub subcommands: &'static [Self],
    pub group: Group,
    /// The version of Redis that brought it.
    pub since: &'static str,
    key_rule: keys::KeyRule,
    /// 0 for none.
    single_key: u8,
    /// Where in `name` a subcommand's own name begins.
    own_name: u8,
}

/// A command's place in tables indexed by command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandId(pub u16);

/// What a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    Bitmap,
    Cluster,
    Connection,
    Generic,
    Geo,
    Hash,
    Hyperloglog,
    List,
    Pubsub,
    Scripting,
    Server,
    Set,
    SortedSet,
    Stream,
    String,
    Transactions,
}

/// The command of that name, in any case.
#[inline]
pub fn lookup(name: &[u8]) -> Option<&'static Command> {
    index::find(name)
}

/// All commands, without subcommands, in the order of their names.
pub fn all() -> &'static [Command] {
    &table::COMMANDS
}

impl Command {
    /// How many ids there are.
    pub fn count() -> usize {
        table::COMMANDS.len() + table::SUBCOMMANDS.len()
    }

    /// The command or subcommand with that id.
    ///
    /// # Panics
    /// When the id is not below [`Command::count`].
    pub fn by_id(id: CommandId) -> &'static Self {
        let index = usize::from(id.0);
        match index.checked_sub(table::COMMANDS.len()) {
            None => &table::COMMANDS[index],
            Some(index) => &table::SUBCOMMANDS[index],
        }
    }

    /// The subcommand of that name, in any case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Self> {
        self.subcommands
            .iter()
            .find(|subcommand| subcommand.own_name().eq_ignore_ascii_case(name))
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

    /// The argument position of the only key, for commands with exactly one key in a fixed place,
    /// which are most. Then [`keys::each_key`] would visit that position and nothing else; a
    /// request that [`Command::accepts`] has that argument.
    #[inline]
    pub fn single_key(&self) -> Option<usize> {
        match self.single_key {
            0 => None,
            position => Some(usize::from(position)),
        }
    }

    /// The name without the container.
    fn own_name(&self) -> &'static [u8] {
        &self.name.as_bytes()[usize::from(self.own_name)..]
    }

    /// What the table is filled with before anything is known.
    const EMPTY: Self = Self {
        id: CommandId(0),
        name: "",
        arity: 0,
        flags: Flags::of(""),
        first_key: 0,
        last_key: 0,
        key_step: 0,
        key_specs: &[],
        tips: &[],
        categories: &[],
        request_policy: RequestPolicy::Default,
        response_policy: ResponsePolicy::Default,
        subcommands: &[],
        group: Group::Generic,
        since: "",
        key_rule: keys::KeyRule::Specs,
        single_key: 0,
        own_name: 0,
    };
}

impl Group {
    /// The name in `COMMAND DOCS`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bitmap => "bitmap",
            Self::Cluster => "cluster",
            Self::Connection => "connection",
            Self::Generic => "generic",
            Self::Geo => "geo",
            Self::Hash => "hash",
            Self::Hyperloglog => "hyperloglog",
            Self::List => "list",
            Self::Pubsub => "pubsub",
            Self::Scripting => "scripting",
            Self::Server => "server",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Stream => "stream",
            Self::String => "string",
            Self::Transactions => "transactions",
        }
    }
}
