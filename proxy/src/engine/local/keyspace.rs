//! The `Keyspace` section of INFO: what the nodes say of their databases, added up.

use core::fmt::Write;

/// What is known of one database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Database {
    pub(crate) number: u32,
    pub(crate) keys: u64,
    /// Keys that have a time to live.
    pub(crate) expires: u64,
    /// The mean of those times.
    pub(crate) ttl_avg_ms: u64,
}

/// Appends the section's lines, without its heading.
pub(crate) fn keyspace_section(databases: &[Database], text: &mut String) {
    for database in databases {
        let Database {
            number,
            keys,
            expires,
            ttl_avg_ms,
        } = database;
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "db{number}:keys={keys},expires={expires},avg_ttl={ttl_avg_ms}\r\n"
        );
    }
}

/// Adds what one node's INFO says of its databases; lines about anything else are passed over.
#[allow(dead_code, reason = "for the fan-out that asks the nodes")]
pub(crate) fn add_keyspace(databases: &mut Vec<Database>, text: &str) {
    for found in text.lines().filter_map(parse_line) {
        let place = databases.binary_search_by_key(&found.number, |known| known.number);
        match place {
            Ok(index) => databases[index] = sum(databases[index], found),
            Err(index) => databases.insert(index, found),
        }
    }
}

/// A mean counts as often as there are keys behind it.
fn sum(one: Database, other: Database) -> Database {
    let weight = |database: Database| u128::from(database.expires);
    let ttls = |database: Database| u128::from(database.ttl_avg_ms) * weight(database);
    let mean = (ttls(one).saturating_add(ttls(other))).checked_div(weight(one) + weight(other));
    Database {
        number: one.number,
        keys: one.keys.saturating_add(other.keys),
        expires: one.expires.saturating_add(other.expires),
        ttl_avg_ms: mean.map_or(0, |mean| u64::try_from(mean).unwrap_or(u64::MAX)),
    }
}

/// `db0:keys=1,expires=0,avg_ttl=0`, perhaps with more behind it.
fn parse_line(line: &str) -> Option<Database> {
    let (name, fields) = line.trim_end().strip_prefix("db")?.split_once(':')?;
    let mut database = Database {
        number: name.parse().ok()?,
        ..Database::default()
    };
    for field in fields.split(',') {
        let (field, value) = field.split_once('=')?;
        let place = match field {
            "keys" => &mut database.keys,
            "expires" => &mut database.expires,
            "avg_ttl" => &mut database.ttl_avg_ms,
            _ => continue,
        };
        *place = value.parse().ok()?;
    }
    Some(database)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_texts_become_one() {
        let mut databases = Vec::new();
        for text in [
            "# Keyspace\r\ndb0:keys=10,expires=1,avg_ttl=100\r\n",
            "# Keyspace\r\n",
            "# Server\r\nredis_version:8.0.0\r\ndbx:keys=1\r\n# Keyspace\r\n\
             db2:keys=1,expires=0,avg_ttl=0\r\n\
             db0:keys=5,expires=3,avg_ttl=200,subexpiry=0\r\ndb1:keys=x\r\n",
        ] {
            add_keyspace(&mut databases, text);
        }
        let mut text = String::new();
        keyspace_section(&databases, &mut text);
        assert_eq!(
            text,
            "db0:keys=15,expires=4,avg_ttl=175\r\ndb2:keys=1,expires=0,avg_ttl=0\r\n"
        );
    }

    #[test]
    fn no_number_is_too_large() {
        let most = u64::MAX;
        let text = format!("db0:keys={most},expires={most},avg_ttl={most}\r\n");
        let mut databases = Vec::new();
        add_keyspace(&mut databases, &text);
        add_keyspace(&mut databases, &text);
        assert_eq!((databases[0].keys, databases[0].expires), (most, most));
    }
}
