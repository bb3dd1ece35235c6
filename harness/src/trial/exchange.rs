//! Exchanges of our own with a server: the first, which shows that it serves, and the last, which shows that it still
//! does.

use super::launch::{Action, Launch};
use super::launch_error::{NOT_STARTED, REFUSED, WRONG_ANSWER};
use super::probe::Question;
use super::server::{self, Server, Surroundings};
use super::{Context, network_of};
use crate::base::child::captured;
use crate::base::error::{Failure, OrFail};
use crate::base::text::one_line;
use crate::model::arm::Subject;
use crate::plan::TrialPlan;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// How soon a server that does not answer yet is asked again.
const PAUSE: Duration = Duration::from_millis(20);

/// Why a probe failed.
pub struct ProbeFailure {
    /// In words.
    pub words: String,
    /// Whether there was an answer that makes no sense.
    pub is_wrong: bool,
    /// Whether there was one that says no.
    pub is_refusal: bool,
}

/// The exchange that shows a server to be ready. One of ours has said so; any other is asked until it answers, whether
/// it was started by us or is about to be by somebody else.
pub async fn first_exchange(
    context: &Context<'_>,
    trial: &TrialPlan,
    server: &mut Server,
) -> Result<Result<(), ProbeFailure>, Failure> {
    let patience = context.plan.start_timeout;
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = probe(context, trial, server, left.max(PAUSE)).await?;
        let is_model = matches!(trial.arm.subject, Subject::Model { .. });
        if answer.is_ok() || is_model || server.ended().await.is_some() {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            return Ok(answer.map_err(|why| ProbeFailure {
                words: format!(
                    "{}, and that for {} (--start-timeout)",
                    why.words,
                    humantime::format_duration(patience)
                ),
                ..why
            }));
        }
        sleep(PAUSE).await;
    }
}

/// One verified exchange from inside the server's network. An error is our own: it could not be tried.
pub async fn probe(
    context: &Context<'_>,
    trial: &TrialPlan,
    server: &Server,
    patience: Duration,
) -> Result<Result<(), ProbeFailure>, Failure> {
    let question = Question::of(&trial.load_at(&server.addr), patience);
    let launch = Launch {
        parent: std::process::id() as i32,
        network: network_of(server),
        cpus: context.plan.client_cpus.clone(),
        groups: Vec::new(),
        action: Action::Probe(Box::new(question)),
    };
    const NO_PROBE: &str = "cannot start the probe";
    let mut command = server::command(&launch, &Surroundings::Bare).or_failed(NO_PROBE)?;
    let output = captured(&mut command).await.or_failed(NO_PROBE)?;
    let words = in_words(&output.stderr);
    match output.status.code() {
        Some(0) => Ok(Ok(())),
        Some(code) if code == i32::from(NOT_STARTED) => {
            Err(Failure::failed(format!("{NO_PROBE}: {words}")))
        }
        code => Ok(Err(ProbeFailure {
            words,
            is_wrong: code == Some(WRONG_ANSWER.into()),
            is_refusal: code == Some(REFUSED.into()),
        })),
    }
}

/// What a launched process says on stderr, without what every error begins with.
pub(super) fn in_words(stderr: &[u8]) -> String {
    let text = one_line(&String::from_utf8_lossy(stderr));
    text.trim_start_matches("error: ").to_string()
}
