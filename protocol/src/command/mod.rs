//! The commands of Redis 7.0 as data: what router, merge, metrics and both `COMMAND` replies read.
//! Others can be learned from a node.

mod flags;
mod index;
pub mod keys;
pub mod learned;
mod pattern;
pub mod policy;
pub mod reply;
pub mod resolve;
mod table;
mod words;

pub use flags::{Flags, KeyFlags};
pub use keys::{BeginSearch, FindKeys, KeySpec, KeysError};
pub use learned::Learned;
pub use pattern::matches_any_case;
pub use policy::{RequestPolicy, ResponsePolicy};
pub use resolve::{Refusal, resolve, resolve_with};

/// A command, or a subcommand of one.
#[derive(Debug, Clone)]
pub struct Command {
    /// A number of its own, dense from 0 to [`Command::count`], subcommands included. Then comes
    /// [`CommandId::OTHER`], and behind it what was learned.
    pub id: CommandId,
    /// In lower case, but as the server writes it when it was learned; a subcommand's name has its
    /// container before it: `client|list`.
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
    /// In the order of their names. What was learned of a container is known to [`Learned`] only.
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

impl CommandId {
    /// The id of no command: tables that have a place for each command of the table have one more,
    /// with this index, for all that is learned.
    pub const OTHER: Self = Self((table::COMMAND_COUNT + table::SUBCOMMAND_COUNT) as u16);

    /// The index of this command in such a table.
    #[inline]
    pub fn index_or_other(self) -> usize {
        usize::from(self.0.min(Self::OTHER.0))
    }
}

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
    /// Of a module, whichever it is.
    Module,
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
    /// How many commands and subcommands the table has.
    pub fn count() -> usize {
        table::COMMANDS.len() + table::SUBCOMMANDS.len()
    }

    /// The command or subcommand with that id, learned ones included. [`CommandId::OTHER`] has the
    /// name `other` and nothing else.
    ///
    /// # Panics
    /// When no command has that id.
    pub fn by_id(id: CommandId) -> &'static Self {
        let index = usize::from(id.0);
        if let Some(command) = table::COMMANDS.get(index) {
            return command;
        }
        let index = index - table::COMMANDS.len();
        if let Some(subcommand) = table::SUBCOMMANDS.get(index) {
            return subcommand;
        }
        match index - table::SUBCOMMANDS.len() {
            0 => &table::OTHER,
            behind => learned::by_place(behind - 1),
        }
    }

    /// Whether the key specs find every key. If not, only the server can tell, and those that
    /// [`keys::each_key`] visits may not be all.
    pub fn tells_keys(&self) -> bool {
        self.key_rule != keys::KeyRule::Hidden
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
            Self::Module => "module",
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
