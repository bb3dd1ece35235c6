//! The registry: one entry per server, the only list of models there is.
//!
//! `list`, `--help`, the charts, the estimate, the README and the contract suite
//! derive from it; `tests/registry.rs` keeps it in step with the binaries in
//! `src/bin/`. Nothing else names a model to say what it is like.

mod axes;
mod variant;

pub use axes::{
    Accept, Bound, Cost, FOREIGN_LOOK, Facility, Look, Marker, Readiness, Unit, Wall, Workers,
};
pub use variant::{BadVariant, Values, Variant, parse_count, parse_size};

use axes::{BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION};

/// The most workers a model may be given.
pub const MAX_WORKERS: usize = 1024;

/// The flag that breaks a server on purpose, which no variant may have.
pub const BROKEN_KEY: &str = "broken";

/// The model that stands for the others where one must be chosen: the default of
/// a gate and of a calibration, and the 1 of a relative chart.
pub const REFERENCE: &str = "epoll";

/// Workers of a pool whose workers block, when none are asked for.
const BLOCKING_WORKERS: usize = 64;

/// Connections that select(2) can watch: FD_SETSIZE, less the descriptors that
/// the server has anyway (three standard ones and the listener).
const SELECT_CONNECTIONS: u64 = 1024 - 4;

/// One concurrency model: what it is called, and where it stands on the axes by
/// which servers are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Model {
    /// Name of the model, of its file and of its binary.
    pub name: &'static str,
    /// Other names `find` answers to.
    pub aliases: &'static [&'static str],
    /// The standard term in the literature.
    pub family: &'static str,
    /// One line for lists.
    pub summary: &'static str,
    /// How it learns that a connection can make progress.
    pub readiness: Readiness,
    /// What serves a connection.
    pub unit: Unit,
    /// Who calls accept(2), and on which listener.
    pub accept: Accept,
    /// Where a connection lives after it was accepted.
    pub placement: &'static str,
    /// Number of the design in Stevens, *UNIX Network Programming* vol. 1, ch. 30.
    pub unp: Option<&'static str>,
    /// The limit it is known to meet first.
    pub wall: Wall,
    /// How many workers it has unless it is told.
    pub workers: Workers,
    /// What the kernel must offer that not every one does.
    pub needs: Option<Facility>,
    /// How it is drawn.
    pub look: Look,
    /// Manual pages to read beside it.
    pub man: &'static [&'static str],
    /// The flags that only this model (or a few like it) takes.
    pub variants: &'static [Variant],
}

/// Every model that has a binary, in the order in which to read them.
pub const MODELS: &[Model] = &[
    Model {
        name: "iterative",
        aliases: &[],
        family: "iterative (sequential) server",
        summary: "one client at a time, the next waits in the listen queue",
        readiness: Readiness::Blocking,
        unit: Unit::Inline,
        accept: Accept::Sole,
        placement: "inline",
        unp: Some("0"),
        wall: Wall {
            name: "one client at a time",
            detail: "the second waits until the first has left",
            at: Bound::Waiting(1),
        },
        workers: Workers::None,
        needs: None,
        look: Look::of(BLACK, Marker::Circle, false),
        man: &["accept(2)", "listen(2)"],
        variants: &[],
    },
    Model {
        name: "process",
        aliases: &["fork"],
        family: "process per connection",
        summary: "fork a child for every client",
        readiness: Readiness::Blocking,
        unit: Unit::Process,
        accept: Accept::Parent,
        placement: "child owns the connection",
        unp: Some("1"),
        wall: Wall {
            name: "processes",
            detail: "pid_max, RLIMIT_NPROC, the pids cgroup",
            at: Bound::Machine,
        },
        workers: Workers::None,
        needs: None,
        look: Look::of(VERMILION, Marker::Circle, false),
        man: &["fork(2)", "waitpid(2)", "signal(7)"],
        variants: &[BALLAST],
    },
    Model {
        name: "prefork",
        aliases: &[],
        family: "preforked process pool",
        summary: "processes forked beforehand, each serving one client at a time",
        readiness: Readiness::Blocking,
        unit: Unit::ProcessPool,
        accept: Accept::AllOrOnePasses,
        placement: "worker owns the connection",
        unp: Some("2-5"),
        wall: Wall {
            name: "one client for each worker",
            detail: "further ones wait until one has left",
            at: Bound::WaitingPerWorker,
        },
        workers: Workers::Fixed(BLOCKING_WORKERS),
        needs: None,
        look: Look::of(VERMILION, Marker::Square, true),
        man: &["accept(2)", "pthread_mutexattr_setpshared(3)", "unix(7)"],
        variants: &[
            WORKERS,
            Variant {
                key: "accept",
                values: Values::OneOf(&["shared", "mutex", "pass-fd"]),
                doc: "All wait in accept, or take turns there, or one accepts for all",
            },
        ],
    },
    Model {
        name: "thread",
        aliases: &[],
        family: "thread per connection",
        summary: "start a thread for every client",
        readiness: Readiness::Blocking,
        unit: Unit::Thread,
        accept: Accept::MainThread,
        placement: "thread owns the connection",
        unp: Some("6"),
        wall: Wall {
            name: "threads",
            detail: "pid_max, threads-max, max_map_count, the pids cgroup",
            at: Bound::Machine,
        },
        workers: Workers::None,
        needs: None,
        look: Look::of(ORANGE, Marker::Circle, false),
        man: &["pthread_create(3)", "clone(2)"],
        variants: &[STACK_SIZE, BALLAST],
    },
    Model {
        name: "thread-pool",
        aliases: &[],
        family: "prethreaded pool with a bounded queue",
        summary: "threads started beforehand, each serving one client at a time",
        readiness: Readiness::Blocking,
        unit: Unit::ThreadPool,
        accept: Accept::MainThreadQueues,
        placement: "worker owns the connection",
        unp: Some("8"),
        wall: Wall {
            name: "one client for each worker",
            detail: "further ones wait until one has left",
            at: Bound::WaitingPerWorker,
        },
        workers: Workers::Fixed(BLOCKING_WORKERS),
        needs: None,
        look: Look::of(ORANGE, Marker::Square, true),
        man: &["pthread_create(3)", "pthread_cond_wait(3)"],
        variants: &[WORKERS, STACK_SIZE],
    },
    Model {
        name: "nonblocking",
        aliases: &[],
        family: "busy-polling nonblocking sweep",
        summary: "ask every connection in turn, never sleep",
        readiness: Readiness::Sweep,
        unit: Unit::Loop,
        accept: Accept::Loop,
        placement: "inline",
        unp: None,
        wall: Wall {
            name: "a system call per connection and sweep",
            detail: "a whole CPU even when idle",
            at: Bound::Machine,
        },
        workers: Workers::None,
        needs: None,
        look: Look::of(BLACK, Marker::Square, true),
        man: &["fcntl(2)", "recv(2)"],
        variants: &[],
    },
    Model {
        name: "select",
        aliases: &[],
        family: "select(2) reactor",
        summary: "one loop over a bitmap of 1024 descriptors",
        readiness: Readiness::Level,
        unit: Unit::Loop,
        accept: Accept::Loop,
        placement: "inline",
        unp: None,
        wall: Wall {
            name: "FD_SETSIZE",
            detail: "descriptor numbers from 1024 up cannot be watched",
            at: Bound::Shedding(SELECT_CONNECTIONS),
        },
        workers: Workers::None,
        needs: None,
        look: Look::of(GREEN, Marker::Circle, false),
        man: &["select(2)", "select_tut(2)"],
        variants: &[Variant {
            key: "stdin",
            values: Values::Switch,
            doc: "Watch the keyboard too: the line \"quit\" ends the server",
        }],
    },
    Model {
        name: "poll",
        aliases: &[],
        family: "poll(2) reactor",
        summary: "one loop over an array of descriptors",
        readiness: Readiness::Level,
        unit: Unit::Loop,
        accept: Accept::Loop,
        placement: "inline",
        unp: None,
        wall: Wall {
            name: "the array of descriptors",
            detail: "every turn costs in proportion to all connections, idle ones included",
            at: Bound::Machine,
        },
        workers: Workers::None,
        needs: None,
        look: Look::of(GREEN, Marker::Square, true),
        man: &["poll(2)"],
        variants: &[],
    },
    Model {
        name: "epoll",
        aliases: &["epoll-lt"],
        family: "epoll reactor, level-triggered",
        summary: "one loop, told only of the ready connections",
        readiness: Readiness::Level,
        unit: Unit::Loop,
        accept: Accept::Loop,
        placement: "inline",
        unp: None,
        wall: Wall {
            name: "one CPU",
            detail: "then descriptors (RLIMIT_NOFILE)",
            at: Bound::Machine,
        },
        workers: Workers::None,
        needs: None,
        look: Look::of(BLUE, Marker::Circle, false),
        man: &["epoll(7)", "epoll_ctl(2)", "epoll_wait(2)"],
        variants: &[],
    },
    Model {
        name: "epoll-et",
        aliases: &[],
        family: "epoll reactor, edge-triggered",
        summary: "one loop, told once of every change, so it drains to EAGAIN",
        readiness: Readiness::Edge,
        unit: Unit::Loop,
        accept: Accept::Loop,
        placement: "inline",
        unp: None,
        wall: Wall {
            name: "one CPU",
            detail: "then descriptors (RLIMIT_NOFILE)",
            at: Bound::Machine,
        },
        workers: Workers::None,
        needs: None,
        look: Look::of(BLUE, Marker::Square, true),
        man: &["epoll(7)", "epoll_ctl(2)"],
        variants: &[],
    },
    Model {
        name: "epoll-oneshot",
        aliases: &[],
        family: "one epoll shared by a thread pool, EPOLLONESHOT",
        summary: "threads take events from one epoll, each event for one thread alone",
        readiness: Readiness::Edge,
        unit: Unit::ThreadPool,
        accept: Accept::AnyThread,
        placement: "any thread, one at a time",
        unp: None,
        wall: Wall {
            name: "CPUs",
            detail: "one more system call per event, to re-arm; then descriptors (RLIMIT_NOFILE)",
            at: Bound::Machine,
        },
        workers: Workers::PerCpu,
        needs: None,
        look: Look::of(BLUE, Marker::Triangle, false),
        man: &["epoll(7)", "epoll_ctl(2)"],
        variants: &[WORKERS],
    },
    Model {
        name: "reuseport",
        aliases: &[],
        family: "multi-reactor, SO_REUSEPORT, shared nothing",
        summary: "an epoll loop in each of several processes, as in nginx",
        readiness: Readiness::Level,
        unit: Unit::LoopPerProcess,
        accept: Accept::EachLoop,
        placement: "one loop owns the connection for life",
        unp: None,
        wall: Wall {
            name: "CPUs",
            detail: "the kernel's spread is blind to load; descriptors per process (RLIMIT_NOFILE)",
            at: Bound::Machine,
        },
        workers: Workers::PerCpu,
        needs: None,
        look: Look::of(BLUE, Marker::Diamond, true),
        man: &["socket(7)", "epoll_ctl(2)"],
        variants: &[
            WORKERS,
            Variant {
                key: "listen-mode",
                values: Values::OneOf(&["reuseport", "shared", "exclusive"]),
                doc: "A listener each, or one in every epoll, or that with EPOLLEXCLUSIVE",
            },
        ],
    },
    Model {
        name: "io-uring",
        aliases: &[],
        family: "io_uring proactor",
        summary: "one loop hands calls over to the kernel and takes their results",
        readiness: Readiness::Completion,
        unit: Unit::Loop,
        accept: Accept::Loop,
        placement: "inline",
        unp: None,
        wall: Wall {
            name: "one CPU",
            detail: "kernels and containers that deny io_uring; then descriptors (RLIMIT_NOFILE)",
            at: Bound::Machine,
        },
        workers: Workers::None,
        needs: Some(Facility::IoUring),
        look: Look::of(PURPLE, Marker::Circle, false),
        man: &["io_uring(7)", "io_uring_enter(2)"],
        variants: &[Variant {
            key: "ops",
            values: Values::OneOf(&["multishot", "plain"]),
            doc: "Operations that stay armed, where the kernel has them, or one result each",
        }],
    },
    Model {
        name: "tokio",
        aliases: &[],
        family: "async tasks, current-thread runtime",
        summary: "a task per connection, all on one thread",
        readiness: Readiness::Edge,
        unit: Unit::Task,
        accept: Accept::Task,
        placement: "inline",
        unp: None,
        wall: Wall {
            name: "one CPU",
            detail: "then descriptors (RLIMIT_NOFILE)",
            at: Bound::Machine,
        },
        workers: Workers::None,
        needs: None,
        look: Look::of(SKY, Marker::Circle, false),
        man: &["epoll(7)"],
        variants: &[],
    },
    Model {
        name: "tokio-multi",
        aliases: &[],
        family: "async tasks, work-stealing runtime",
        summary: "a task per connection, spread over a thread per CPU",
        readiness: Readiness::Edge,
        unit: Unit::SpreadTask,
        accept: Accept::Task,
        placement: "work stealing",
        unp: None,
        wall: Wall {
            name: "CPUs",
            detail: "then descriptors (RLIMIT_NOFILE)",
            at: Bound::Machine,
        },
        workers: Workers::PerCpu,
        needs: None,
        look: Look::of(SKY, Marker::Square, true),
        man: &["epoll(7)"],
        variants: &[WORKERS],
    },
];

const BALLAST: Variant = Variant {
    key: "ballast",
    values: Values::Size,
    doc: "Touch this much memory before serving: fork's cost grows with the parent",
};

const WORKERS: Variant = Variant {
    key: "workers",
    values: Values::Count,
    doc: "Processes or threads [default: 64 blocking ones, or one loop per CPU]",
};

const STACK_SIZE: Variant = Variant {
    key: "stack-size",
    values: Values::Size,
    doc: "Stack of each thread [default: 2MiB]",
};

/// The model of this name or alias.
///
/// # Errors
/// [`UnknownModel`], whose text lists the models and the nearest match.
pub fn find(name: &str) -> Result<&'static Model, UnknownModel> {
    MODELS
        .iter()
        .find(|model| model.name == name || model.aliases.contains(&name))
        .ok_or_else(|| UnknownModel {
            asked: name.to_owned(),
            nearest: nearest(name, names()),
        })
}

/// The names of the models that cannot run where the kernel denies this.
pub fn that_need(facility: Facility) -> impl Iterator<Item = &'static str> {
    let need_it = MODELS
        .iter()
        .filter(move |model| model.needs == Some(facility));
    need_it.map(|model| model.name)
}

/// Every name and alias, in registry order.
fn names() -> impl Iterator<Item = &'static str> {
    MODELS
        .iter()
        .flat_map(|model| std::iter::once(model.name).chain(model.aliases.iter().copied()))
}

/// The candidate most like `word`, if any is like it at all. The bound of 0.7
/// on the Jaro–Winkler similarity is the one clap uses for its own suggestions.
fn nearest(word: &str, candidates: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

fn listed() -> String {
    let names: Vec<_> = MODELS.iter().map(|model| model.name).collect();
    names.join(", ")
}

/// No model is called that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no model is called '{asked}'{} The models are: {}",
    .nearest.map(|nearest| format!("; did you mean '{nearest}'?")).unwrap_or_default(),
    listed()
)]
pub struct UnknownModel {
    /// The name that was asked for.
    pub asked: String,
    /// The name or alias most like it.
    pub nearest: Option<&'static str>,
}

impl Model {
    /// How many workers it has on so many CPUs unless it is told; none in a model
    /// that takes no number.
    pub fn default_workers(&self, cpus: usize) -> Option<usize> {
        match self.workers {
            Workers::None => None,
            Workers::Fixed(workers) => Some(workers),
            Workers::PerCpu => Some(cpus.clamp(1, MAX_WORKERS)),
        }
    }

    /// What each connection costs beside its descriptor.
    pub fn cost(&self) -> Cost {
        match self.unit {
            Unit::Process => Cost::Process,
            Unit::Thread => Cost::Thread,
            _ => Cost::Descriptor,
        }
    }

    /// How many connections it serves at a time with so many workers, the others
    /// waiting for one of them to end; none where nobody waits.
    pub fn served_at_once(&self, workers: u64) -> Option<u64> {
        match self.wall.at {
            Bound::Waiting(connections) => Some(connections),
            Bound::WaitingPerWorker => Some(workers),
            Bound::Shedding(_) | Bound::Machine => None,
        }
    }

    /// How many connections it can hold, the others being turned away; none
    /// where only the machine bounds them.
    pub fn held_at_most(&self) -> Option<u64> {
        match self.wall.at {
            Bound::Shedding(connections) => Some(connections),
            _ => None,
        }
    }

    /// How many of so many connections one of its processes has open at a time,
    /// with so many workers.
    pub fn connections_per_process(&self, connections: u64, workers: u64) -> u64 {
        match self.unit {
            Unit::Inline | Unit::Process | Unit::ProcessPool => connections.min(1),
            Unit::LoopPerProcess => connections.div_ceil(workers.max(1)),
            _ => connections.min(self.served_at_once(workers).unwrap_or(u64::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases_are_unique_and_found() {
        let all: Vec<_> = names().collect();
        for (at, name) in all.iter().enumerate() {
            assert!(!all[..at].contains(name), "{name} is listed twice");
            assert!(find(name).is_ok());
        }
        assert_eq!(find("epoll-lt").map(|model| model.name), Ok("epoll"));
    }

    #[test]
    fn an_unknown_name_gets_the_list_and_the_nearest() {
        let error = find("epol").unwrap_err();
        assert_eq!(error.nearest, Some("epoll"));
        let text = error.to_string();
        assert!(text.contains("did you mean 'epoll'?") && text.contains("iterative, process,"));
        assert_eq!(find("qqq").unwrap_err().nearest, None);
        assert!(find("").is_err());
    }

    #[test]
    fn no_two_models_look_the_same() {
        let looks: Vec<Look> = MODELS.iter().map(|model| model.look).collect();
        for (at, look) in looks.iter().enumerate() {
            assert!(!looks[..at].contains(look), "{}", MODELS[at].name);
        }
        assert!(!looks.contains(&FOREIGN_LOOK));
        assert!(find(REFERENCE).is_ok());
        assert!(that_need(Facility::IoUring).eq(["io-uring"]));
    }

    #[test]
    fn a_model_takes_a_number_of_workers_if_it_has_some() {
        for model in MODELS {
            assert_eq!(
                model.takes("workers"),
                model.default_workers(4).is_some(),
                "{}",
                model.name
            );
        }
        let of = |name| find(name).unwrap();
        assert_eq!(of("prefork").default_workers(2), Some(64));
        assert_eq!(of("reuseport").default_workers(2), Some(2));
        assert_eq!(of("reuseport").default_workers(0), Some(1));
    }

    #[test]
    fn walls_have_numbers() {
        let of = |name| find(name).unwrap();
        assert_eq!(of("iterative").served_at_once(9), Some(1));
        assert_eq!(of("thread-pool").served_at_once(9), Some(9));
        assert_eq!(of("select").held_at_most(), Some(1020));
        assert_eq!(of("epoll").served_at_once(1), None);
        assert_eq!(of("process").connections_per_process(500, 1), 1);
        assert_eq!(of("reuseport").connections_per_process(501, 2), 251);
        assert_eq!(of("thread-pool").connections_per_process(500, 64), 64);
        assert_eq!(of("epoll-oneshot").connections_per_process(500, 2), 500);
        assert!(of("process").cost() > of("thread").cost());
    }
}
