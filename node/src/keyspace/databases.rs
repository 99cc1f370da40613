//! The databases: which are in use, how many keys each has, and who watches its keys.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Keyspace;
use super::table::Table;
use crate::blocking::Ticket;

/// A database that was used.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) number: u32,
    /// How many keys it has, with expired ones that were not met yet.
    pub(super) len: usize,
    /// The clients that watch a key, by their number.
    pub(super) watched: HashMap<Box<[u8]>, Vec<u64>>,
    /// The clients that wait for a key to have something.
    pub(super) awaited: BTreeMap<Box<[u8]>, BTreeSet<Ticket>>,
}

/// What INFO says of a database.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DatabaseInfo {
    pub(crate) number: u32,
    pub(crate) keys: usize,
    pub(crate) expiring: usize,
    pub(crate) average_ttl_ms: u64,
}

impl Database {
    pub(super) fn new(number: u32) -> Self {
        Self {
            number,
            len: 0,
            watched: HashMap::new(),
            awaited: BTreeMap::new(),
        }
    }
}

impl Keyspace {
    /// Chooses the database of the request that comes next; the selected slot stays. One that is
    /// used for the first time gets its tables now. Whoever calls this has checked that the
    /// settings allow that number.
    #[inline]
    pub(crate) fn select_database(&mut self, number: u32) {
        if self.databases[self.selected >> self.slot_bits].number != number {
            self.change_database(number);
        }
    }

    /// The number of the selected database.
    pub(crate) fn database(&self) -> u32 {
        self.databases[self.selected >> self.slot_bits].number
    }

    /// The number of keys in all databases, with expired ones that were not met yet.
    pub(crate) fn len(&self) -> usize {
        self.databases.iter().map(|database| database.len).sum()
    }

    /// The number of keys in the selected database, with expired ones that were not met yet.
    pub(crate) fn database_len(&self) -> usize {
        self.databases[self.selected >> self.slot_bits].len
    }

    /// The databases that have keys, by their numbers.
    pub(crate) fn database_infos(&self) -> Vec<DatabaseInfo> {
        let tables = self.tables.chunks(1 << self.slot_bits);
        let used = self.databases.iter().zip(tables);
        let used = used.filter(|(database, _)| database.len > 0);
        let mut infos: Vec<DatabaseInfo> = used
            .map(|(database, tables)| DatabaseInfo {
                number: database.number,
                keys: database.len,
                expiring: tables.iter().map(|table| table.expiring).sum(),
                average_ttl_ms: self.average_ttl_ms(tables),
            })
            .collect();
        infos.sort_unstable_by_key(|info| info.number);
        infos
    }

    /// Removes all keys of the selected database.
    pub(crate) fn clear_database(&mut self) {
        self.clear_at(self.selected >> self.slot_bits);
    }

    /// Removes all keys of all databases.
    pub(crate) fn clear(&mut self) {
        for index in 0..self.databases.len() {
            self.clear_at(index);
        }
    }

    /// Notes that a client wants to know of changes to a key of the selected database.
    pub(crate) fn watch(&mut self, key: &[u8], client: u64) {
        let watched = &mut self.databases[self.selected >> self.slot_bits].watched;
        let before = watched.len();
        let clients = watched.entry(key.into()).or_default();
        if !clients.contains(&client) {
            clients.push(client);
        }
        self.watched_len += watched.len() - before;
    }

    /// Ends what [`Keyspace::watch`] began in that database.
    pub(crate) fn unwatch(&mut self, database: u32, key: &[u8], client: u64) {
        let mut databases = self.databases.iter_mut();
        let Some(database) = databases.find(|known| known.number == database) else {
            return;
        };
        if let Some(clients) = database.watched.get_mut(key) {
            clients.retain(|watcher| *watcher != client);
            if clients.is_empty() {
                database.watched.remove(key);
                self.watched_len -= 1;
            }
        }
    }

    /// The next client whose watched keys were changed.
    #[inline]
    pub(crate) fn poll_disturbed(&mut self) -> Option<u64> {
        self.disturbed.pop()
    }

    #[cold]
    pub(super) fn disturb_watchers(&mut self, key: &[u8]) {
        self.disturb_watchers_only(key);
        self.note_awaited(key);
    }

    /// The same without telling those who wait for the key.
    pub(super) fn disturb_watchers_only(&mut self, key: &[u8]) {
        let watched = &self.databases[self.selected >> self.slot_bits].watched;
        if let Some(clients) = watched.get(key) {
            self.disturbed.extend_from_slice(clients);
        }
    }

    /// Counts the keys of tables that were taken away as changes, and tells who watched them.
    pub(super) fn disturb_watchers_of(&mut self, index: usize, tables: &[Table]) {
        let count = tables.iter().map(Table::len).sum::<usize>();
        self.changes += count as u64;
        let watched = &self.databases[index].watched;
        if watched.is_empty() {
            return;
        }
        let keys = tables.iter().flat_map(Table::iter);
        for clients in keys.filter_map(|entry| watched.get(entry.key.as_bytes())) {
            self.disturbed.extend_from_slice(clients);
        }
    }

    /// Tells all who watch any key.
    pub(super) fn disturb_all(&mut self) {
        for database in &self.databases {
            let watchers = database.watched.values().flatten();
            self.disturbed.extend(watchers);
        }
    }

    /// The tables of the selected database.
    pub(super) fn database_tables(&self) -> &[Table] {
        let first = self.selected & !self.slot_mask();
        &self.tables[first..=first + self.slot_mask()]
    }

    #[cold]
    fn change_database(&mut self, number: u32) {
        let known = self
            .databases
            .iter()
            .position(|known| known.number == number);
        let index = known.unwrap_or_else(|| {
            self.databases.push(Database::new(number));
            let tables_len = self.databases.len() << self.slot_bits;
            self.tables.resize_with(tables_len, Table::default);
            self.databases.len() - 1
        });
        self.selected = index << self.slot_bits | self.selected & self.slot_mask();
    }

    fn clear_at(&mut self, index: usize) {
        let first = index << self.slot_bits;
        let last = first + self.slot_mask();
        let places = &mut self.tables[first..=last];
        let tables: Vec<Table> = places.iter_mut().map(std::mem::take).collect();
        self.databases[index].len = 0;
        self.disturb_watchers_of(index, &tables);
        self.ready_all_of(index);
        self.hand_to_snapshot(first, tables);
    }
}
