//! One round of questions to the admin port.

use serde::de::DeserializeOwned;
use slotway_protocol::engine::Address;
use slotway_runtime::admin::{AskError, AskLimits, Asker};

use super::model::{Picture, Printable};

/// Why nothing can be shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("it answered {path} with {status}: {said}")]
    Refused {
        path: String,
        status: u16,
        said: Printable,
    },
    #[error("its answer to {path} is not that of a slotway: {problem}")]
    Strange { path: String, problem: Printable },
}

impl FetchError {
    /// A proxy that has only just started has nothing to tell for a second.
    pub(super) fn is_too_early(&self) -> bool {
        matches!(self, Self::Refused { path, status: 503, .. } if path == STATUS)
    }
}

/// Asks for everything that is shown; of the history only what came after `since`, a Unix time.
pub(super) async fn fetch(address: &Address, since: f64) -> Result<Picture, FetchError> {
    let mut asker = Asker::connect(address, AskLimits::default()).await?;
    let told = ask(&mut asker, STATUS).await?;
    let history = ask(&mut asker, &format!("/history?since={since}")).await?;
    let topology = optional(ask(&mut asker, "/topology").await)?;
    let hot = optional(ask(&mut asker, &format!("/hot?count={HOT_KEYS}")).await)?;
    Ok(Picture {
        told,
        history,
        topology,
        hot,
    })
}

async fn ask<T: DeserializeOwned>(asker: &mut Asker, path: &str) -> Result<T, FetchError> {
    let (status, body) = asker.get(path).await?;
    if status != 200 {
        let said = String::from_utf8_lossy(&body[..body.len().min(SAID_BYTES)]);
        return Err(FetchError::Refused {
            path: path.to_owned(),
            status,
            said: Printable::of(said.trim_end()),
        });
    }
    serde_json::from_slice(&body).map_err(|error| FetchError::Strange {
        path: path.to_owned(),
        problem: Printable::of(&error.to_string()),
    })
}

/// `None` where the proxy says that there is nothing yet.
fn optional<T>(answer: Result<T, FetchError>) -> Result<Option<T>, FetchError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(FetchError::Refused { status: 503, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

const STATUS: &str = "/status";
const HOT_KEYS: usize = 100;
/// How much of an answer is said again when it was no good.
const SAID_BYTES: usize = 100;
