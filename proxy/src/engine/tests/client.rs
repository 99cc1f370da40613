//! Commands about the clients themselves, and what workers tell each other of them.

use super::*;

/// Two workers whose messages reach each other when told to.
struct Pair {
    workers: [Bench; 2],
}

impl Pair {
    fn new() -> Self {
        let bench = |worker| {
            Bench::new(Options {
                worker,
                worker_count: 2,
                ..Options::default()
            })
        };
        Self {
            workers: [bench(0), bench(1)],
        }
    }

    /// Delivers messages until there are no more.
    fn deliver(&mut self) {
        loop {
            let messages: Vec<Message> = self
                .workers
                .iter_mut()
                .flat_map(|bench| std::mem::take(&mut bench.messages))
                .collect();
            if messages.is_empty() {
                return;
            }
            for message in messages {
                let to = usize::from(message.to.unwrap_or(1 - message.from));
                self.workers[to].call(|proxy, now| proxy.handle_event(Event::Peer(message), now));
            }
        }
    }
}

#[test]
fn all_workers_are_asked_and_the_answers_become_one() {
    let mut pair = Pair::new();
    let client = pair.workers[0].client();
    pair.workers[0].input(client, "CLIENT UNBLOCK 7\r\nPING\r\n");
    assert_eq!(
        pair.workers[0].written(client),
        "",
        "the other's is missing"
    );
    pair.deliver();
    assert_eq!(pair.workers[0].written(client), ":0\r\n+PONG\r\n");
}

#[test]
fn a_worker_that_does_not_answer_is_not_waited_for() {
    let mut pair = Pair::new();
    let client = pair.workers[0].client();
    pair.workers[0].input(client, "CLIENT UNBLOCK 7\r\n");
    pair.workers[0].wait(Duration::from_millis(900));
    assert_eq!(pair.workers[0].written(client), "");
    pair.workers[0].wait(Duration::from_millis(200));
    assert_eq!(pair.workers[0].written(client), ":0\r\n");
    assert_eq!(pair.workers[0].stats.peer_answers_late.value(), 1);
    pair.deliver();
    assert_eq!(pair.workers[0].written(client), "", "too late");
}
