//! The table of nodes: its columns, their order, and which of them there is room for.

use core::cmp::Ordering;
use std::collections::BTreeMap;

use super::model::{Node, Picture, Topology};
use super::words::{cut, milliseconds, plural, short_number};

/// One node.
#[derive(Debug, Clone)]
pub(super) struct Row<'a> {
    /// Its place among the topology's shards.
    pub(super) shard: Option<usize>,
    pub(super) node: &'a Node,
}

/// What is said of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Column {
    /// The letter that the map of the slots has for it.
    #[default]
    Shard,
    Node,
    Role,
    State,
    Slots,
    Lag,
    Latency,
    Requests,
    Errors,
    InFlight,
    Connections,
}

/// All nodes, shard by shard, each primary before its replicas.
pub(super) fn rows(picture: &Picture) -> Vec<Row<'_>> {
    let shards = picture.topology.as_ref().map(shards).unwrap_or_default();
    let nodes = picture.told.nodes.iter();
    let mut rows: Vec<Row<'_>> = nodes
        .map(|node| Row {
            shard: shards.get(node.address.as_str()).copied(),
            node,
        })
        .collect();
    sort(&mut rows, Column::Shard, false);
    rows
}

fn shards(topology: &Topology) -> BTreeMap<&str, usize> {
    let shards = topology.shards.iter().enumerate();
    shards
        .flat_map(|(place, shard)| {
            let members = shard.replicas.iter().chain([&shard.primary]);
            members.map(move |member| (member.as_str(), place))
        })
        .collect()
}

/// By one column; what is equal there stays shard by shard.
pub(super) fn sort(rows: &mut [Row<'_>], column: Column, is_reversed: bool) {
    rows.sort_by(|one, other| {
        let order = column.compare(one, other);
        let order = if is_reversed { order.reverse() } else { order };
        order.then_with(|| Column::Shard.compare(one, other))
    });
}

/// The letter of a shard on the map.
pub(super) fn letter(shard: Option<usize>) -> char {
    let letters = ('A'..='Z').chain('a'..='z');
    shard.map_or('-', |shard| letters.clone().nth(shard).unwrap_or('#'))
}

impl Column {
    pub(super) const ALL: [Self; 11] = [
        Self::Shard,
        Self::Node,
        Self::Role,
        Self::State,
        Self::Slots,
        Self::Lag,
        Self::Latency,
        Self::Requests,
        Self::Errors,
        Self::InFlight,
        Self::Connections,
    ];

    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::Shard => "#",
            Self::Node => "node",
            Self::Role => "role",
            Self::State => "state",
            Self::Slots => "slots",
            Self::Lag => "lag",
            Self::Latency => "latency",
            Self::Requests => "req/s",
            Self::Errors => "err/s",
            Self::InFlight => "in flight",
            Self::Connections => "conns",
        }
    }

    fn width(self) -> usize {
        match self {
            Self::Shard => 2,
            Self::Node => NODE_WIDTH,
            Self::Role => 7,
            Self::State => 8,
            Self::Slots | Self::Requests | Self::Errors | Self::Connections => 6,
            Self::Lag | Self::Latency => 8,
            Self::InFlight => 10,
        }
    }

    /// Numbers stand at the right.
    fn is_number(self) -> bool {
        !matches!(self, Self::Shard | Self::Node | Self::Role | Self::State)
    }

    pub(super) fn cell(self, row: &Row<'_>) -> String {
        let node = row.node;
        match self {
            Self::Shard => letter(row.shard).to_string(),
            Self::Node => node.address.to_string(),
            Self::Role => node.role.to_string(),
            Self::State => node.state.to_string(),
            Self::Slots => format!("{}", node.slots),
            Self::Lag => milliseconds(node.lag_ms),
            Self::Latency => milliseconds(node.latency_ms),
            Self::Requests => short_number(node.requests),
            Self::Errors => short_number(node.errors),
            Self::InFlight => short_number(node.in_flight),
            Self::Connections => short_number(node.connections),
        }
    }

    /// What asks for attention comes first: the slowest, the busiest, the dead.
    fn compare(self, one: &Row<'_>, other: &Row<'_>) -> Ordering {
        let most = |of: fn(&Node) -> f64| of(other.node).total_cmp(&of(one.node));
        match self {
            Self::Shard => {
                let key = |row: &Row<'_>| (row.shard.unwrap_or(usize::MAX), row.is_replica());
                let order = key(one).cmp(&key(other));
                order.then_with(|| one.node.address.cmp(&other.node.address))
            }
            Self::Node => one.node.address.cmp(&other.node.address),
            Self::Role => one.node.role.cmp(&other.node.role),
            Self::State => one.severity().cmp(&other.severity()),
            Self::Slots => most(|node| node.slots),
            Self::Lag => most(|node| node.lag_ms.unwrap_or(-1.0)),
            Self::Latency => most(|node| node.latency_ms.unwrap_or(-1.0)),
            Self::Requests => most(|node| node.requests),
            Self::Errors => most(|node| node.errors),
            Self::InFlight => most(|node| node.in_flight),
            Self::Connections => most(|node| node.connections),
        }
    }
}

impl Row<'_> {
    fn is_replica(&self) -> bool {
        self.node.role.as_str() != "primary"
    }

    /// The lower, the worse.
    fn severity(&self) -> usize {
        let states = ["down", "silent", "gone", "refusing"];
        let state = self.node.state.as_str();
        let place = states.iter().position(|known| *known == state);
        place.unwrap_or_else(|| states.len() + usize::from(self.node.is_up()))
    }
}

/// The columns that there is room for, each with its width.
pub(super) fn fitting(rows: &[Row<'_>], width: usize) -> Vec<(Column, usize)> {
    let longest = rows.iter().map(|row| row.node.address.as_str().len());
    let longest = longest.max().unwrap_or_default().max(NODE_WIDTH);
    let mut columns: Vec<(Column, usize)> = Column::ALL
        .into_iter()
        .map(|column| (column, column.width()))
        .collect();
    let needed =
        |columns: &[(Column, usize)]| columns.iter().map(|(_, width)| width + 1).sum::<usize>();
    for dispensable in LEAST_NEEDED {
        if needed(&columns) > width + 1 {
            columns.retain(|(column, _)| *column != dispensable);
        }
    }
    let spare = (width + 1).saturating_sub(needed(&columns));
    for (column, width) in &mut columns {
        if *column == Column::Node {
            *width += spare.min(longest - NODE_WIDTH);
        }
    }
    columns
}

/// One cell at its place.
pub(super) fn placed(column: Column, text: &str, width: usize) -> String {
    let text = cut(text, width);
    if column.is_number() {
        format!("{text:>width$} ")
    } else {
        format!("{text:<width$} ")
    }
}

/// How many there are, and of what.
pub(super) fn summary(picture: &Picture) -> String {
    let nodes = &picture.told.nodes;
    if nodes.is_empty() {
        return "no node is known".to_owned();
    }
    let primaries = nodes.iter().filter(|node| node.role.as_str() == "primary");
    let primaries = primaries.count();
    let replicas = nodes.len() - primaries;
    let replicas = match replicas {
        1 => "1 replica".to_owned(),
        replicas => format!("{replicas} replicas"),
    };
    let primaries = match primaries {
        1 => "1 primary".to_owned(),
        primaries => format!("{primaries} primaries"),
    };
    let bad = nodes.iter().filter(|node| !node.is_up()).count();
    let nodes = plural(nodes.len(), "node");
    let bad = match bad {
        0 => String::new(),
        bad => format!(", {bad} not up"),
    };
    format!("{nodes}: {primaries}, {replicas}{bad}")
}

/// The text of a table without colours: the heading and a line for each node.
pub(super) fn lines(rows: &[Row<'_>], width: usize) -> Vec<String> {
    let columns = fitting(rows, width);
    let line = |cell: &dyn Fn(Column) -> String| {
        let cells = columns.iter();
        let line: String = cells
            .map(|(column, width)| placed(*column, &cell(*column), *width))
            .collect();
        line.trim_end().to_owned()
    };
    let heading = line(&|column| column.heading().to_owned());
    let nodes = rows.iter().map(|row| line(&|column| column.cell(row)));
    std::iter::once(heading).chain(nodes).collect()
}

const NODE_WIDTH: usize = 15;
/// What goes first where there is no room.
const LEAST_NEEDED: [Column; 7] = [
    Column::Connections,
    Column::InFlight,
    Column::Lag,
    Column::Shard,
    Column::Latency,
    Column::Errors,
    Column::Slots,
];

#[cfg(test)]
mod tests {
    use super::super::model::Printable;
    use super::super::model::tests::picture;
    use super::*;

    #[test]
    fn nodes_stand_shard_by_shard_with_their_letters() {
        let mut picture = picture();
        picture.told.nodes[0].address = Printable::of("stranger:1");
        let rows = rows(&picture);
        let letters: String = rows.iter().map(|row| letter(row.shard)).collect();
        let tail: String = letters.chars().rev().take(1).collect();
        assert_eq!((letters.len(), &*tail), (6, "-"), "{letters}");
        assert!(
            letters.starts_with('A') && letters.contains('C'),
            "{letters}"
        );
        assert_eq!(letter(Some(26)), 'a');
        assert_eq!(letter(Some(52)), '#');
    }

    #[test]
    fn the_worst_come_first() {
        let picture = picture();
        let mut rows = rows(&picture);
        sort(&mut rows, Column::State, false);
        assert!(!rows[0].node.is_up() && rows[5].node.is_up());
        sort(&mut rows, Column::State, true);
        assert!(rows[0].node.is_up() && !rows[5].node.is_up());
        sort(&mut rows, Column::Requests, false);
        let requests: Vec<f64> = rows.iter().map(|row| row.node.requests).collect();
        assert!(
            requests.is_sorted_by(|one, other| one >= other),
            "{requests:?}"
        );
    }

    #[test]
    fn a_table_is_no_wider_than_its_place() {
        let mut picture = picture();
        picture.told.nodes[0].address = Printable::of(&"long.".repeat(30));
        let rows = rows(&picture);
        for width in [44, 60, 80, 200] {
            let lines = lines(&rows, width);
            let longest = lines.iter().map(|line| line.chars().count()).max();
            assert!(longest <= Some(width), "{width}: {lines:#?}");
            assert_eq!(lines.len(), 7);
            assert!(
                lines[0].contains("state") && lines[0].contains("req/s"),
                "{lines:#?}"
            );
        }
        assert!(lines(&rows, 100)[0].ends_with("conns"));
        assert!(lines(&rows, 80)[0].contains("lag"));
    }

    #[test]
    fn nodes_are_counted() {
        let mut picture = picture();
        assert_eq!(
            summary(&picture),
            "6 nodes: 3 primaries, 3 replicas, 1 not up"
        );
        picture.told.nodes.clear();
        assert_eq!(summary(&picture), "no node is known");
    }
}
