//! What an agent may be ordered when: pure, so that every order in every state has one answer.

use serde_json::Value;

use super::super::PHASES;
use super::super::wire::{Order, PROTOCOL};
use crate::load::Load;

/// How far ahead an instant may lie: nothing that is planned takes longer.
const FARTHEST_NS: u64 = 8 * 24 * 3600 * 1_000_000_000;

/// Where a conversation stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Nobody has said who they are.
    #[default]
    Fresh,
    /// The head is known, and nothing was started.
    Greeted,
    /// A load was started. It has announced so many phases and was told so many times to go on.
    Loading {
        /// Phases announced.
        announced: usize,
        /// Of those, told to go on.
        released: usize,
    },
    /// It was told to stop, or has come to its end, and is still to report.
    Reporting,
    /// It has reported.
    Reported,
}

/// What an order makes an agent do.
#[derive(Debug, PartialEq)]
pub enum Act {
    /// Say what is here.
    Greet,
    /// Read the clocks.
    TellClock(u64),
    /// Start the share.
    Start(Box<Load>, bool),
    /// Let it go on.
    GoOn(Option<u64>),
    /// End its window.
    Cut(u64),
    /// Make it stop.
    StopLoad,
    /// Hand something to the part that starts servers.
    ToServers(Value),
    /// Know that the head is there.
    Nothing,
}

impl Stage {
    /// What an order comes to; `now_ns` is what instants are compared with.
    ///
    /// # Errors
    /// Why it cannot be given now, in a sentence: the end of the conversation.
    pub fn obey(&mut self, order: Order, now_ns: u64) -> Result<Act, String> {
        match (order, *self) {
            (Order::Hello { protocol, version }, Self::Fresh) => {
                greeted(protocol, &version)?;
                *self = Self::Greeted;
                Ok(Act::Greet)
            }
            (order, Self::Fresh) => Err(out_of_turn(&order, "before hello")),
            (Order::Hello { .. }, _) => Err("hello was said twice".into()),
            (Order::Alive, _) => Ok(Act::Nothing),
            (Order::Clock { number }, _) => Ok(Act::TellClock(number)),
            (Order::Server(value), _) => Ok(Act::ToServers(value)),
            (Order::Load { load, seconds }, Self::Greeted) => {
                *self = Self::Loading {
                    announced: 0,
                    released: 0,
                };
                Ok(Act::Start(load, seconds))
            }
            (
                Order::Go { at_ns },
                Self::Loading {
                    announced,
                    released,
                },
            ) if released < announced => {
                if at_ns.is_some_and(|at_ns| at_ns > now_ns.saturating_add(FARTHEST_NS)) {
                    return Err("an instant more than a week ahead".into());
                }
                *self = Self::Loading {
                    announced,
                    released: released + 1,
                };
                Ok(Act::GoOn(at_ns))
            }
            (Order::Cut { at_ns }, Self::Loading { .. }) => Ok(Act::Cut(at_ns)),
            (Order::Stop, Self::Loading { .. }) => {
                *self = Self::Reporting;
                Ok(Act::StopLoad)
            }
            // A word to a load that has come to its end meanwhile.
            (
                Order::Go { .. } | Order::Cut { .. } | Order::Stop,
                Self::Reporting | Self::Reported,
            ) => Ok(Act::Nothing),
            (order, _) => Err(out_of_turn(&order, "now")),
        }
    }

    /// The load has come to a phase; whether it is the next.
    pub fn announce(&mut self, name: &str) -> bool {
        match self {
            Self::Loading {
                announced,
                released,
            } if announced == released && PHASES.get(*announced) == Some(&name) => {
                *announced += 1;
                true
            }
            _ => false,
        }
    }

    /// Whether it was told to go on from its last phase.
    #[must_use]
    pub fn has_come_to_its_end(self) -> bool {
        matches!(self, Self::Loading { released, .. } if released == PHASES.len())
    }

    /// The load has ended by itself.
    pub fn ended(&mut self) {
        if let Self::Loading { .. } = self {
            *self = Self::Reporting;
        }
    }

    /// Its outcome was told; whether there was one to tell.
    pub fn reported(&mut self) -> bool {
        let is_due = *self == Self::Reporting;
        if is_due {
            *self = Self::Reported;
        }
        is_due
    }
}

fn greeted(protocol: u32, version: &str) -> Result<(), String> {
    let own = env!("CARGO_PKG_VERSION");
    if protocol == PROTOCOL && version == own {
        return Ok(());
    }
    let shown: String = version.chars().take(40).collect();
    let shown = crate::base::text::one_line(&shown);
    Err(format!(
        "here is version {own} (protocol {PROTOCOL}), there version {shown} (protocol {protocol}): install the same on all \
         hosts"
    ))
}

fn out_of_turn(order: &Order, when: &str) -> String {
    let name = match order {
        Order::Hello { .. } => "hello",
        Order::Clock { .. } => "clock",
        Order::Load { .. } => "load",
        Order::Go { .. } => "go",
        Order::Cut { .. } => "cut",
        Order::Server(_) => "server",
        Order::Alive => "alive",
        Order::Stop => "stop",
    };
    format!("`{name}` means nothing {when}")
}

#[cfg(test)]
pub(in crate::fleet) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::load::flags::{LoadFlags, RunFlags, ShapeFlags};

    pub(in crate::fleet) fn load() -> Box<Load> {
        let (shape, flags) = (ShapeFlags::default(), LoadFlags::default());
        let load = Load::new("127.0.0.1:1", &shape, &flags, &RunFlags::default());
        Box::new(load.expect("valid"))
    }

    fn hello() -> Order {
        Order::Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    fn order(number: u8) -> Order {
        match number % 9 {
            0 => hello(),
            1 => Order::Hello {
                protocol: 0,
                version: "\u{1b}[2J".repeat(99),
            },
            2 => Order::Clock { number: 3 },
            3 => Order::Load {
                load: load(),
                seconds: false,
            },
            4 => Order::Go { at_ns: None },
            5 => Order::Go {
                at_ns: Some(u64::MAX),
            },
            6 => Order::Server(Value::Null),
            7 => Order::Alive,
            _ => Order::Stop,
        }
    }

    proptest! {
        /// Orders lost, doubled, exchanged or made up: a load is started once and after hello only, is never told to go
        /// on more often than it announced, and reports once.
        #[test]
        fn no_order_of_orders_does_what_was_not_due(steps in proptest::collection::vec(0u8..30, 0..60)) {
            let (mut stage, mut greeted, mut starts, mut announced, mut released, mut reports) =
                (Stage::default(), 0, 0, 0, 0, 0);
            for step in steps {
                match step {
                    0..18 => match stage.obey(order(step), 1) {
                        Ok(Act::Greet) => greeted += 1,
                        Ok(Act::Start(..)) => starts += 1,
                        Ok(Act::GoOn(at_ns)) => {
                            released += 1;
                            prop_assert_eq!(at_ns, None);
                        }
                        Ok(_) => {}
                        Err(why) => {
                            prop_assert!(why.chars().all(|c| !c.is_control()) && why.len() < 300, "{}", why);
                            break;
                        }
                    },
                    18..26 => announced += usize::from(stage.announce(PHASES[usize::from(step) % PHASES.len()])),
                    26 => stage.ended(),
                    _ => reports += usize::from(stage.reported()),
                }
                prop_assert!(greeted <= 1 && starts <= greeted && reports <= starts);
                prop_assert!(released <= announced && announced <= released + 1 && announced <= PHASES.len());
            }
        }
    }

    #[test]
    fn a_load_goes_through_its_phases() {
        let mut stage = Stage::default();
        assert_eq!(stage.obey(hello(), 0), Ok(Act::Greet));
        let start = Order::Load {
            load: load(),
            seconds: true,
        };
        assert!(matches!(
            stage.obey(start.clone(), 0),
            Ok(Act::Start(_, true))
        ));
        assert!(stage.obey(start, 0).is_err(), "a second load");
        for phase in PHASES {
            assert!(stage.announce(phase) && !stage.announce(phase));
            assert_eq!(
                stage.obey(Order::Go { at_ns: Some(5) }, 0),
                Ok(Act::GoOn(Some(5)))
            );
        }
        stage.ended();
        assert_eq!(stage.obey(Order::Stop, 0), Ok(Act::Nothing));
        assert!(stage.reported() && !stage.reported());
    }

    #[test]
    fn another_version_is_refused_with_both() {
        let order = Order::Hello {
            protocol: PROTOCOL,
            version: "9.9.9".into(),
        };
        let why = Stage::default().obey(order, 0).expect_err("refused");
        assert!(
            why.contains("9.9.9") && why.contains(env!("CARGO_PKG_VERSION")),
            "{why}"
        );
    }
}
