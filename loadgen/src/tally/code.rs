//! The reasons not to believe a run's figures: one list for the generator, the harness and what is written about them.

use super::outcome::{Reason, Verdict};

/// A reason's code. What the generator can judge alone it judges; the rest needs to know the server as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The generator was the bottleneck.
    W01,
    /// The load was not delivered.
    W02,
    /// Requests were sent late.
    W03,
    /// Little's law does not hold.
    W04,
    /// The generator met a limit of its own system.
    W05,
    /// The figures were not steady.
    W06,
    /// Something else used the machine.
    W07,
    /// The listen queue overflowed.
    W08,
    /// The client's and the server's counters disagree.
    W09,
    /// Another server answered.
    W10,
    /// Parts of the load were lost, as was tolerated.
    W11,
}

impl Code {
    /// All codes in their order.
    pub const ALL: [Self; 11] = [
        Self::W01,
        Self::W02,
        Self::W03,
        Self::W04,
        Self::W05,
        Self::W06,
        Self::W07,
        Self::W08,
        Self::W09,
        Self::W10,
        Self::W11,
    ];

    /// As it is written in rows and outcomes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::W01 => "W01",
            Self::W02 => "W02",
            Self::W03 => "W03",
            Self::W04 => "W04",
            Self::W05 => "W05",
            Self::W06 => "W06",
            Self::W07 => "W07",
            Self::W08 => "W08",
            Self::W09 => "W09",
            Self::W10 => "W10",
            Self::W11 => "W11",
        }
    }

    /// What it says, for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::W01 => "the generator was the bottleneck: throughput is a lower bound",
            Self::W02 => "the load was not delivered",
            Self::W03 => "requests were sent late, or the generator stood still",
            Self::W04 => "connections in use do not equal throughput × response time",
            Self::W05 => "the generator met a limit of its own system",
            Self::W06 => "the figures were not steady",
            Self::W07 => "something else used the machine",
            Self::W08 => "the listen queue overflowed",
            Self::W09 => "the client's and the server's counters disagree",
            Self::W10 => "another server answered",
            Self::W11 => "degraded: parts of the load were lost, as was tolerated",
        }
    }

    /// What it makes of the figures.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::W02 | Self::W04 | Self::W05 | Self::W09 | Self::W10 => Verdict::Invalid,
            Self::W01 | Self::W03 | Self::W06 | Self::W07 | Self::W08 | Self::W11 => {
                Verdict::Suspect
            }
        }
    }

    /// The code of this name; none of a status's explanation, or where a newer version has one more.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.name() == name)
    }
}

impl Reason {
    /// A reason with its code.
    #[must_use]
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self {
            code: code.name().into(),
            text: text.into(),
        }
    }

    /// What explains the status, which has no code.
    #[must_use]
    pub fn of_status(text: impl Into<String>) -> Self {
        Self {
            code: String::new(),
            text: text.into(),
        }
    }

    /// Whether it is of this code.
    #[must_use]
    pub fn is(&self, code: Code) -> bool {
        self.code == code.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_nothing_else_is() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.name()), Some(code));
            assert!(Reason::new(code, "why").is(code));
        }
        for other in ["", "W00", "W12", "w01"] {
            assert_eq!(Code::parse(other), None, "{other}");
        }
    }
}
