//! What a server can be made to do wrong, for a lab to show what comes of it.
//! No page knows of it, and none of it is for comparing models: a variant that
//! asks for it is refused.

use std::fmt;

use crate::models::{Model, Readiness, Unit};

/// A server broken on purpose. Displayed as the word that `--broken` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Reads once for each event, and little, rather than until EAGAIN.
    NoDrain,
    /// Reads until EAGAIN however long that takes.
    NoBudget,
    /// Tries accept(2) again at once when descriptors have run out.
    NaiveAccept,
    /// Binds without SO_REUSEADDR.
    NoReuseaddr,
    /// Leaves TCP_NODELAY off.
    Nagle,
    /// Never calls close(2).
    NoClose,
}

impl Broken {
    /// All there are.
    pub const ALL: [Broken; 6] = [
        Broken::NoDrain,
        Broken::NoBudget,
        Broken::NaiveAccept,
        Broken::NoReuseaddr,
        Broken::Nagle,
        Broken::NoClose,
    ];

    /// How many bytes a server that does not drain asks for: as many as the
    /// tutorials' servers do.
    pub const LITTLE: usize = 1024;

    /// The word that `--broken` takes.
    pub fn word(self) -> &'static str {
        match self {
            Broken::NoDrain => "no-drain",
            Broken::NoBudget => "no-budget",
            Broken::NaiveAccept => "naive-accept",
            Broken::NoReuseaddr => "no-reuseaddr",
            Broken::Nagle => "nagle",
            Broken::NoClose => "no-close",
        }
    }

    /// What it does, in one line for `--help`.
    pub fn doc(self) -> &'static str {
        match self {
            Broken::NoDrain => {
                "Reads 1024 bytes for each event, not until EAGAIN: an edge is told once, and the rest stays unread"
            }
            Broken::NoBudget => {
                "Serves a client until EAGAIN: one that never pauses starves the others"
            }
            Broken::NaiveAccept => {
                "Tries accept again at once when descriptors have run out, and spins"
            }
            Broken::NoReuseaddr => {
                "Binds without SO_REUSEADDR: after a restart the port is taken for a minute"
            }
            Broken::Nagle => {
                "Leaves TCP_NODELAY off: a small segment waits for the acknowledgement of the one before"
            }
            Broken::NoClose => {
                "Never closes: connections that clients have finished stay in CLOSE_WAIT"
            }
        }
    }

    /// Whether this model can be broken so.
    pub fn suits(self, model: &Model) -> bool {
        let waits_in_turn = matches!(model.unit, Unit::Thread | Unit::ThreadPool);
        match (self, model.readiness) {
            (Broken::NoReuseaddr | Broken::Nagle, _) => true,
            (Broken::NoDrain, Readiness::Level | Readiness::Edge) => model.unit == Unit::Loop,
            (Broken::NoBudget, Readiness::Edge) => model.unit == Unit::Loop,
            (Broken::NaiveAccept, Readiness::Level) => true,
            (Broken::NaiveAccept, Readiness::Blocking) => waits_in_turn,
            // A child's end closes what it had.
            (Broken::NoClose, Readiness::Blocking) => model.unit != Unit::Process,
            _ => false,
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{BROKEN_KEY, MODELS, find};

    #[test]
    fn each_suits_the_models_whose_idea_it_spoils() {
        let suited = |broken: Broken| -> Vec<&str> {
            let models = MODELS.iter().filter(|model| broken.suits(model));
            models.map(|model| model.name).collect()
        };
        assert_eq!(suited(Broken::NoBudget), ["epoll-et"]);
        assert_eq!(
            suited(Broken::NoDrain),
            ["select", "poll", "epoll", "epoll-et"]
        );
        assert_eq!(
            suited(Broken::NoClose),
            ["iterative", "prefork", "thread", "thread-pool"]
        );
        assert_eq!(suited(Broken::Nagle).len(), MODELS.len());
        assert!(!suited(Broken::NaiveAccept).contains(&"epoll-et"));
    }

    #[test]
    fn no_variant_word_stands_for_a_broken_server() {
        for model in MODELS {
            assert!(!model.takes(BROKEN_KEY));
            for broken in Broken::ALL {
                let refused = model.flags(&format!("{BROKEN_KEY}={broken}")).unwrap_err();
                assert!(refused.to_string().contains("broken on purpose"));
            }
        }
        let beside = find("prefork").unwrap().flags("workers=2,broken=nagle");
        assert!(beside.is_err());
    }
}
