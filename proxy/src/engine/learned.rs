//! What is done with commands that were learned from a node: by their key specs, flags and tips
//! alone, and with more care than those of the table, because nobody has looked at them.

use std::sync::Arc;

use slotway_protocol::command::{
    BeginSearch, Command, FindKeys, Flags, Group, KeySpec, Learned, RequestPolicy,
};

use super::Proxy;
use super::merge::MergeKind;
use super::plan::{Plan, Refusal};

impl Proxy {
    /// The nodes have these commands besides those of the table.
    pub(super) fn set_commands(&mut self, learned: Arc<Learned>) {
        let emulation = self.options.cluster.is_some();
        self.plans.learn(&learned, emulation);
        self.reads.learn(&learned, &self.plans);
        self.learned = Some(learned);
    }
}

/// What to do with a learned command that the proxy has no name for; `None` for the same as with
/// one of the table.
pub(crate) fn plan(command: &Command) -> Option<Plan> {
    let has_keys = !command.key_specs.is_empty();
    let writes = command.flags.contains(Flags::WRITE);
    if matches!(command.group, Group::Connection | Group::Transactions) {
        return Some(Plan::Refused(Refusal::NotYet));
    }
    if !command.tells_keys() && (writes || !has_keys) {
        return Some(Plan::Refused(Refusal::HiddenKeys));
    }
    if command.flags.intersects(OWN_CONNECTION) {
        return None;
    }
    match command.request_policy {
        // What a module keeps without a key it looks after on all nodes by itself.
        RequestPolicy::Default if !has_keys && command.group == Group::Module => Some(Plan::Any),
        RequestPolicy::Special if !has_keys => Some(Plan::Refused(Refusal::NotYet)),
        RequestPolicy::MultiShard => split(command),
        _ => None,
    }
}

/// A command that is to be split is, if it is nothing but keys with what belongs to each. What
/// else it has the parts would lack, so then the keys must share a slot.
fn split(command: &Command) -> Option<Plan> {
    let merge = MergeKind::of(command.response_policy).filter(|merge| merge.is_of_parts());
    match (command.key_specs, merge) {
        (
            [
                KeySpec {
                    begin: BeginSearch::Index(1),
                    find:
                        FindKeys::Range {
                            last: -1,
                            step,
                            limit: 0..=1,
                        },
                    ..
                },
            ],
            Some(merge),
        ) => Some(Plan::Split {
            merge,
            step: usize::from(*step),
        }),
        ([], _) => Some(Plan::Refused(Refusal::NotYet)),
        _ => Some(command.single_key().map_or(Plan::Keys, Plan::Key)),
    }
}

/// Not for a connection that others use, too.
const OWN_CONNECTION: Flags = Flags::BLOCKING
    .union(Flags::PUBSUB)
    .union(Flags::ADMIN)
    .union(Flags::NO_MULTI);
