//! A command that every worker answers for its own clients: asks all of them and makes one reply
//! of their answers, or of those that have come when the time is over.

use core::time::Duration;

use slotway_protocol::resp::Protocol;

use super::peers::{Answer, Question};
use super::task::{Cluster, Steps, Task};

#[derive(Debug)]
pub(crate) struct Survey {
    question: Question,
    answers: Vec<Answer>,
    summary: Summary,
}

/// Makes the reply of what was asked and the answers to it.
type Summary = fn(&Question, Vec<Answer>, Protocol) -> Vec<u8>;

impl Survey {
    pub(crate) fn new(question: Question, summary: Summary) -> Self {
        Self {
            question,
            answers: Vec::new(),
            summary,
        }
    }

    fn finish(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        let answers = std::mem::take(&mut self.answers);
        steps.finish((self.summary)(&self.question, answers, cluster.protocol));
    }
}

impl Task for Survey {
    fn begin(&mut self, _cluster: &Cluster<'_>, steps: &mut Steps) {
        steps.ask(self.question.clone());
        steps.wake_after(ANSWER_TIMEOUT);
    }

    fn reply(&mut self, _: u32, _: &[u8], _: &Cluster<'_>, _: &mut Steps) {}

    fn answer(&mut self, answer: Answer, cluster: &Cluster<'_>, steps: &mut Steps) {
        self.answers.push(answer);
        if self.answers.len() == cluster.workers {
            self.finish(cluster, steps);
        }
    }

    fn wake(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        steps.answers_late();
        self.finish(cluster, steps);
    }
}

/// How long all workers may take to answer.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
