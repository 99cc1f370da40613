//! Asks a node how it is, from any thread, without ever waiting long for one that is stuck; and
//! makes metrics for Prometheus of what it says.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use slotway_runtime::metrics::Family;
use tokio::sync::{mpsc, watch};

use crate::engine::Event;
use crate::report::{FigureKind, Figures, Report};

/// Whom to ask about a node. Clones ask the same one.
#[derive(Clone)]
pub struct Watch {
    events: mpsc::UnboundedSender<Event>,
    reports: watch::Receiver<Arc<Reported>>,
    asked: Arc<AtomicBool>,
}

/// Where the node's thread leaves its answers.
#[derive(Debug)]
pub(super) struct Publisher {
    reports: watch::Sender<Arc<Reported>>,
    asked: Arc<AtomicBool>,
}

/// What a node has said, and when.
#[derive(Debug)]
struct Reported {
    report: Report,
    at: Instant,
}

/// How a node is, or was when it last said so.
#[derive(Debug, Clone)]
pub struct Answer {
    reported: Arc<Reported>,
    /// It has answered in time.
    pub is_responding: bool,
}

/// Both ends of the way from a node to those who watch it.
pub(super) fn channel(events: mpsc::UnboundedSender<Event>) -> (Publisher, Watch) {
    let nothing = Reported {
        report: Report::default(),
        at: Instant::now(),
    };
    let (sender, reports) = watch::channel(Arc::new(nothing));
    let asked = Arc::new(AtomicBool::new(false));
    let publisher = Publisher {
        reports: sender,
        asked: Arc::clone(&asked),
    };
    let watch = Watch {
        events,
        reports,
        asked,
    };
    (publisher, watch)
}

impl Publisher {
    pub(super) fn publish(&self, report: Report) {
        // Whoever asks from now on asks for another one.
        self.asked.store(false, Ordering::Release);
        let at = Instant::now();
        self.reports.send_replace(Arc::new(Reported { report, at }));
    }
}

impl Watch {
    /// Asks the node, and waits for a second at most. Those who ask a node that is busy all wait
    /// for one answer, so that there is never more than one question in its queue.
    pub async fn ask(&self) -> Answer {
        let mut reports = self.reports.clone();
        reports.mark_unchanged();
        if !self.asked.swap(true, Ordering::AcqRel) {
            // A node that has ended does not answer either.
            let _ = self.events.send(Event::Report);
        }
        let changed = tokio::time::timeout(PATIENCE, reports.changed()).await;
        let reported = Arc::clone(&reports.borrow());
        Answer {
            reported,
            is_responding: matches!(changed, Ok(Ok(()))),
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Answer {
    /// Whether clients are served, and why not.
    pub fn readiness(&self) -> Result<(), &'static str> {
        match self.reported.report.trouble {
            _ if !self.is_responding => Err(NOT_RESPONDING),
            Some(trouble) => Err(trouble),
            None => Ok(()),
        }
    }

    fn report(&self) -> &Report {
        &self.reported.report
    }
}

/// What each node says as metrics, with its name as the label `node`; without one for a node that
/// is alone.
pub fn families(nodes: &[(Option<String>, Answer)]) -> Vec<Family> {
    let mut families = Vec::from(responding(nodes));
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (node, answer) in nodes {
        let node = node.as_deref().map(|node| ("node", node));
        for figures in &answer.report().families {
            let place = *places.entry(figures.name).or_insert_with(|| {
                families.push(family(figures));
                families.len() - 1
            });
            for sample in &figures.samples {
                let own = sample.labels.iter();
                let own = own.map(|(label, value)| (*label, value.as_str()));
                let labels: Vec<(&str, &str)> = node.into_iter().chain(own).collect();
                families[place].sample(&labels, sample.number.value());
            }
        }
    }
    families
}

fn family(figures: &Figures) -> Family {
    match figures.kind {
        FigureKind::Counter => Family::counter(figures.name, figures.help),
        FigureKind::Gauge => Family::gauge(figures.name, figures.help),
    }
}

/// Whether what the others say is true now.
fn responding(nodes: &[(Option<String>, Answer)]) -> [Family; 2] {
    let help = "1 when the node has answered within a second; 0 when what is shown is older.";
    let mut responding = Family::gauge("slotway_node_responding", help);
    let help = "How old the figures of the node are.";
    let mut age = Family::gauge("slotway_node_report_age_seconds", help);
    for (node, answer) in nodes {
        let node = node.as_deref().map(|node| ("node", node));
        let labels: Vec<(&str, &str)> = node.into_iter().collect();
        let is_responding = u8::from(answer.is_responding);
        responding.sample(&labels, is_responding.into());
        age.sample(&labels, answer.reported.at.elapsed().as_secs_f64());
    }
    [responding, age]
}

const NOT_RESPONDING: &str = "the node has not answered within a second";

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
