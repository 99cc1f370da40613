//! What must hold between calls, and when nothing is left to do; for tests.

use slotway_protocol::cluster::SLOTS;

use super::pipeline::Pipeline;
use super::{Connection, Proxy};

impl Proxy {
    /// Checks what must hold between calls; for tests.
    ///
    /// # Panics
    /// When something does not hold.
    pub fn check_invariants(&self) {
        self.holds.check_invariants();
        self.turns.check_invariants();
        self.reads.check_invariants();
        self.privates.check_invariants();
        self.pipelines.iter().for_each(Pipeline::check_invariants);
        let mut in_flight = vec![0; SLOTS];
        let owned = self.pipelines.iter().flat_map(Pipeline::in_flight);
        owned
            .filter(|entry| entry.has_slot())
            .for_each(|entry| in_flight[entry.slot.index()] += 1);
        assert_eq!(
            in_flight, self.in_flight_by_slot,
            "every request in flight is counted"
        );
        self.subscriptions.check_invariants();
        for (connection, count) in self.subscriptions.clients() {
            let place = &self.connections[connection.index as usize];
            let Connection::Client(session) = place else {
                panic!("every subscriber is connected");
            };
            assert_eq!(session.connection, connection);
            assert_eq!(session.subscriptions.iter().sum::<u32>() as usize, count);
        }
        for (connection, request) in self.gradual.requests() {
            let place = &self.connections[connection.index as usize];
            let Connection::Client(session) = place else {
                panic!("whose request is sent little by little is connected");
            };
            let is_alone = session.paused && session.owed() == 1;
            assert!(is_alone, "nothing overtakes its parts");
            assert!(session.is_gradual(request.ticket));
            request.check_invariants();
        }
        let (mut merging, mut tasks) = (0, 0);
        for connection in &self.connections {
            if let Connection::Client(session) = connection {
                session.check_invariants();
                merging += session.merges().count();
                // A client that is being closed gets no reply any more.
                let tasks_of = session.tasks().filter(|task| self.tasks.has(*task));
                tasks += tasks_of.count();
                assert!(session.owed() <= self.options.client_in_flight_max);
            }
        }
        assert_eq!(
            merging + self.scattered.len(),
            self.merges.len(),
            "every merge belongs to a client, or to a request that is split by its keys"
        );
        assert_eq!(
            tasks,
            self.tasks.with_client(),
            "every task with a client is in its place"
        );
    }

    /// What is not done yet, or not given back: tasks, private connections that somebody uses,
    /// merges and held requests; for tests.
    pub fn work_left(&self) -> [usize; 4] {
        let privates = self.privates.busy_len();
        [
            self.tasks.len(),
            privates,
            self.merges.len(),
            self.holds.len() + self.reads.waiting_len(),
        ]
    }
}
