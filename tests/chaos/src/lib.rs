//! What the two programs of the chaos tests are made of: `chaos-load`, clients whose every reply is
//! checked and whose whole history is judged at the end, and `faulty`, a proxy that injects faults
//! into connections. `tests/chaos/run` starts them around real nodes.

pub mod load;

pub mod check;
pub mod history;

pub mod faulty;

mod resp;
mod slots;
mod values;
