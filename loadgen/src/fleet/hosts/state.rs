//! What a host may say when: pure, so that whatever comes in whatever order has one answer.

use serde_json::Value;

use super::super::PHASES;
use super::super::seconds::Told;
use super::super::wire::{Hello, PROTOCOL, Said};
use crate::base::text::one_line;
use crate::tally::outcome::check_numbers;

/// Where the conversation with a host stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// It has not said who it is.
    #[default]
    Called,
    /// It has, and waits for its share.
    Greeted,
    /// It was given its share, has come to so many phases, and was told so many times to go on.
    Loading {
        /// Phases announced.
        announced: usize,
        /// Of those, told to go on.
        released: usize,
    },
    /// It was told to go on from its last phase, or to stop, and is to report.
    Reporting,
    /// It has reported.
    Reported,
}

/// What a host's words come to.
#[derive(Debug)]
pub enum Heard {
    /// Who it is.
    Hello(Box<Hello>),
    /// It does not do what it was asked for.
    Refused(String),
    /// Its clocks.
    Clock {
        /// Which question it answers.
        number: u64,
        /// CLOCK_MONOTONIC.
        monotonic_ns: u64,
        /// CLOCK_REALTIME.
        unix_ns: u64,
    },
    /// It has come to its next phase.
    Phase,
    /// A second of the window.
    Second(Box<Told>),
    /// Its report.
    Report {
        /// The outcome as text, if there is one.
        text: Option<String>,
        /// How its load ended.
        how: String,
        /// A law it found broken.
        broken_law: Option<String>,
        /// Whether it had been told to report.
        is_due: bool,
    },
    /// Something of its servers' part.
    Server(Value),
    /// It is there.
    Alive,
}

impl Stage {
    /// What is heard; in a sentence why it cannot be: the end of the conversation.
    ///
    /// # Errors
    /// What was out of turn.
    pub fn hear(&mut self, said: Said) -> Result<Heard, String> {
        match (said, *self) {
            (Said::Alive, _) => Ok(Heard::Alive),
            (Said::Refused { why }, _) => Ok(Heard::Refused(shown(&why))),
            (Said::Hello(mut hello), Self::Called) => {
                *self = Self::Greeted;
                check_hello(&hello)?;
                let machine = &mut hello.machine;
                machine.kernel = shown(&machine.kernel);
                for text in [&mut machine.cpu_model, &mut machine.boot_id] {
                    *text = text.as_deref().map(shown);
                }
                Ok(Heard::Hello(hello))
            }
            (said, Self::Called) => Err(format!("it said `{}` before hello", name_of(&said))),
            (
                Said::Clock {
                    number,
                    monotonic_ns,
                    unix_ns,
                },
                _,
            ) => Ok(Heard::Clock {
                number,
                monotonic_ns,
                unix_ns,
            }),
            (Said::Server(value), _) => Ok(Heard::Server(value)),
            (
                Said::Phase { name },
                Self::Loading {
                    announced,
                    released,
                },
            ) if announced == released && PHASES.get(announced) == Some(&name.as_str()) => {
                let announced = announced + 1;
                *self = Self::Loading {
                    announced,
                    released,
                };
                Ok(Heard::Phase)
            }
            // It was told to stop when it had just come to a phase.
            (Said::Phase { .. }, Self::Reporting) => Ok(Heard::Alive),
            (Said::Second(told), Self::Loading { .. } | Self::Reporting) => {
                told.check().map_err(|why| format!("of a second: {why}"))?;
                Ok(Heard::Second(told))
            }
            (
                Said::Outcome {
                    text,
                    how,
                    broken_law,
                },
                Self::Loading { .. } | Self::Reporting,
            ) => {
                let is_due = *self == Self::Reporting;
                *self = Self::Reported;
                Ok(Heard::Report {
                    text,
                    how: shown(&how),
                    broken_law: broken_law.as_deref().map(shown),
                    is_due,
                })
            }
            (said, _) => Err(format!("it said `{}` out of turn", name_of(&said))),
        }
    }

    /// It was given its share.
    pub fn load(&mut self) {
        *self = Self::Loading {
            announced: 0,
            released: 0,
        };
    }

    /// It was told to go on.
    pub fn go(&mut self) {
        if let Self::Loading {
            announced,
            released,
        } = *self
        {
            let released = (released + 1).min(announced);
            *self = match released == PHASES.len() {
                true => Self::Reporting,
                false => Self::Loading {
                    announced,
                    released,
                },
            };
        }
    }

    /// It was told to stop; whether there is anything to stop.
    pub fn stop(&mut self) -> bool {
        let is_loading = matches!(self, Self::Loading { .. });
        if is_loading {
            *self = Self::Reporting;
        }
        is_loading
    }

    /// Whether it has come to the phase of this number.
    #[must_use]
    pub fn has_come_to(self, phase: usize) -> bool {
        match self {
            Self::Loading { announced, .. } => announced > phase,
            Self::Reporting | Self::Reported => true,
            Self::Called | Self::Greeted => false,
        }
    }
}

/// A text of somebody else's, as far as it is shown.
fn shown(text: &str) -> String {
    one_line(&text.chars().take(600).collect::<String>())
}

fn check_hello(hello: &Hello) -> Result<(), String> {
    let own = env!("CARGO_PKG_VERSION");
    if hello.protocol == PROTOCOL && hello.version == own {
        // They are added up, and become a part of the outcome.
        let figures = serde_json::to_value(hello).map_err(|error| error.to_string())?;
        return check_numbers(&figures, "").map_err(|why| format!("of its host: {why}"));
    }
    Err(format!(
        "it has version {} (protocol {}), and here is version {own} (protocol {PROTOCOL}): install the same on all hosts",
        shown(&hello.version.chars().take(40).collect::<String>()),
        hello.protocol
    ))
}

fn name_of(said: &Said) -> &'static str {
    match said {
        Said::Hello(_) => "hello",
        Said::Refused { .. } => "refused",
        Said::Clock { .. } => "clock",
        Said::Phase { .. } => "phase",
        Said::Second(_) => "second",
        Said::Outcome { .. } => "outcome",
        Said::Server(_) => "server",
        Said::Alive => "alive",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::machine::MachineFacts;

    fn hello(version: &str) -> Said {
        Said::Hello(Box::new(Hello {
            protocol: PROTOCOL,
            version: version.into(),
            name: "h1".into(),
            place: "here".into(),
            machine: MachineFacts {
                kernel: "Linux\n".repeat(900),
                ..MachineFacts::default()
            },
            programs: std::collections::BTreeMap::new(),
            cpus: 2,
            limits: Default::default(),
            servers: false,
        }))
    }

    fn said(number: u8) -> Said {
        match number % 12 {
            0 => hello(env!("CARGO_PKG_VERSION")),
            1 => hello("0.0.1"),
            2 => Said::Refused {
                why: "\u{1b}[2Jno".repeat(500),
            },
            3 => Said::Clock {
                number: u64::MAX,
                monotonic_ns: u64::MAX,
                unix_ns: 0,
            },
            4 => Said::Outcome {
                text: None,
                how: "x\n".repeat(900),
                broken_law: None,
            },
            5 => Said::Alive,
            6 => Said::Server(Value::Null),
            number => Said::Phase {
                name: PHASES[usize::from(number - 7)].into(),
            },
        }
    }

    proptest! {
        /// Messages lost, doubled, exchanged or made up: phases come in their order, each once and only after the word
        /// to go on; there is one report at most, and only of what was begun.
        #[test]
        fn whatever_a_host_says_nothing_is_counted_twice(steps in proptest::collection::vec(0u8..30, 0..80)) {
            let (mut stage, mut hellos, mut loads, mut phases, mut goes, mut reports) = (Stage::default(), 0, 0, 0, 0, 0);
            for step in steps {
                match step {
                    0..24 => match stage.hear(said(step)) {
                        Ok(Heard::Hello(hello)) => {
                            hellos += 1;
                            let kernel = hello.machine.kernel;
                            prop_assert!(kernel.len() < 2000 && kernel.chars().all(|c| !c.is_control()));
                        }
                        Ok(Heard::Phase) => phases += 1,
                        Ok(Heard::Report { how, .. }) => {
                            reports += 1;
                            prop_assert!(how.len() < 2000 && how.chars().all(|c| !c.is_control()));
                        }
                        Ok(Heard::Refused(why)) => prop_assert!(why.chars().all(|c| !c.is_control())),
                        Ok(_) => {}
                        Err(_) => break,
                    },
                    24 | 25 if stage == Stage::Greeted => {
                        stage.load();
                        loads += 1;
                    }
                    26 => drop(stage.stop()),
                    _ if matches!(stage, Stage::Loading { announced, released } if released < announced) => {
                        stage.go();
                        goes += 1;
                    }
                    _ => {}
                }
                prop_assert!(hellos <= 1 && reports <= loads && goes <= phases && phases <= goes + 1);
                prop_assert!(phases <= PHASES.len());
            }
        }
    }

    #[test]
    fn a_host_comes_to_each_phase_and_reports() {
        let mut stage = Stage::default();
        assert!(stage.hear(said(5)).is_ok(), "alive is said at any time");
        assert!(matches!(stage.hear(said(0)), Ok(Heard::Hello(_))));
        stage.load();
        for (number, phase) in PHASES.into_iter().enumerate() {
            assert!(!stage.has_come_to(number));
            assert!(matches!(
                stage.hear(Said::Phase { name: phase.into() }),
                Ok(Heard::Phase)
            ));
            assert!(stage.has_come_to(number));
            stage.go();
        }
        assert_eq!(stage, Stage::Reporting);
        assert!(matches!(
            stage.hear(said(4)),
            Ok(Heard::Report { is_due: true, .. })
        ));
        assert!(stage.hear(said(4)).is_err(), "a second report");
    }

    #[test]
    fn a_version_is_refused_with_both() {
        let why = Stage::default().hear(hello("0.0.1")).expect_err("refused");
        assert!(
            why.contains("0.0.1") && why.contains(env!("CARGO_PKG_VERSION")),
            "{why}"
        );
        let why = Stage::default().hear(said(4)).expect_err("refused");
        assert!(why.contains("before hello"), "{why}");
    }

    #[test]
    fn figures_of_a_host_that_cannot_be_added_up_are_refused() {
        let Said::Hello(mut hello) = hello(env!("CARGO_PKG_VERSION")) else {
            unreachable!("it says hello");
        };
        hello.cpus = u64::MAX;
        let why = Stage::default()
            .hear(Said::Hello(hello))
            .expect_err("refused");
        assert!(why.starts_with("of its host: cpus is "), "{why}");
    }
}
