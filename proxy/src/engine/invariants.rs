//! What must hold between calls, and when nothing is left to do; for tests.

use super::pipeline::{Link, Pipeline};
use super::{Connection, Proxy};

impl Proxy {
    /// Checks what must hold between calls; for tests.
    ///
    /// # Panics
    /// When something does not hold.
    pub fn check_invariants(&self) {
        let in_flight = self.count_in_flight();
        assert_eq!(
            in_flight, self.in_flight_by_slot,
            "every request in flight is counted"
        );
        self.holds.check_invariants(&in_flight);
        self.turns.check_invariants();
        self.check_turns();
        self.reads.check_invariants();
        self.privates.check_invariants();
        self.pipelines.iter().for_each(Pipeline::check_invariants);
        self.check_links();
        self.check_tickets();
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

    /// Nobody keeps a turn for nothing, nor waits for one without being asleep.
    fn check_turns(&self) {
        for (connection, has_turn) in self.turns.clients() {
            let place = &self.connections[connection.index as usize];
            let Connection::Client(session) = place else {
                panic!("who takes turns is connected");
            };
            assert_eq!(session.connection, connection);
            if !session.leaving {
                assert!(session.paused, "who takes turns is not read from");
                assert!(!has_turn || session.owed() > 0, "a turn that is over ends");
            }
        }
        for session in self.connections.iter().filter_map(Connection::client) {
            assert!(
                !session.is_passed || self.passes_to(session.connection),
                "who has the beginning of a reply gets the rest"
            );
        }
    }

    /// Every open connection to a node is known to what it is for.
    fn check_links(&self) {
        let lanes = self.lanes();
        assert_eq!(self.pipelines.len(), self.backends.len() * lanes);
        assert_eq!(self.feeds.len(), self.backends.len());
        assert_eq!(self.runs.len(), self.backends.len());
        let is_open = |link: Link, means: &dyn Fn(&Connection) -> bool| {
            let Link::Open(connection) = link else {
                return;
            };
            let place = self.connections.get(connection.index as usize);
            assert!(place.is_some_and(means), "{connection:?} is open");
        };
        for (index, pipeline) in self.pipelines.iter().enumerate() {
            is_open(
                pipeline.link,
                &|it| matches!(it, Connection::Backend { pipeline } if *pipeline == index),
            );
        }
        for (index, feed) in self.feeds.iter().enumerate() {
            is_open(
                feed.link,
                &|it| matches!(it, Connection::Feed { backend } if *backend == index),
            );
        }
        for private in self.privates.pipelines() {
            is_open(private.link, &|it| matches!(it, Connection::Private { .. }));
        }
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
