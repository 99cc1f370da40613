//! Names that clients are subscribed to, each with its clients in the order in which they came.

use std::collections::BTreeMap;

use slotway_protocol::engine::ConnectionId;

/// Every name has at least one client.
#[derive(Debug, Default)]
pub(crate) struct Topics(BTreeMap<Box<[u8]>, Vec<ConnectionId>>);

impl Topics {
    pub(super) fn add(&mut self, name: &[u8], client: ConnectionId) {
        self.0.entry(name.into()).or_default().push(client);
    }

    pub(super) fn remove(&mut self, name: &[u8], client: ConnectionId) {
        if let Some(clients) = self.0.get_mut(name) {
            clients.retain(|known| *known != client);
            if clients.is_empty() {
                self.0.remove(name);
            }
        }
    }

    pub(super) fn clients(&self, name: &[u8]) -> &[ConnectionId] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[ConnectionId])> {
        let topics = self.0.iter();
        topics.map(|(name, clients)| (&name[..], clients.as_slice()))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.keys().map(|name| &name[..])
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    pub(crate) fn into_subscriptions(self) -> impl Iterator<Item = (Box<[u8]>, ConnectionId)> {
        let topics = self.0.into_iter();
        topics.flat_map(|(name, clients)| {
            clients
                .into_iter()
                .map(move |client| (name.clone(), client))
        })
    }
}
