//! The registry: one entry per server, the only list of models there is.
//!
//! `list`, `--help`, the charts, the estimate, the README and the contract suite
//! derive from it; `tests/registry.rs` keeps it in step with the binaries in
//! `src/bin/`. Nothing else names a model to say what it is like.

use std::fmt;

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

/// How a model learns that a connection can make progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// The call waits until it can be done.
    Blocking,
    /// It tries, and EAGAIN says that there was nothing to do.
    Sweep,
    /// It is told for as long as something can be done.
    Level,
    /// It is told once of every change.
    Edge,
    /// It is told when something has been done.
    Completion,
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Readiness::Blocking => "blocking",
            Readiness::Sweep => "EAGAIN sweep",
            Readiness::Level => "level",
            Readiness::Edge => "edge",
            Readiness::Completion => "completion",
        })
    }
}

/// What serves a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// The program itself, for one connection at a time.
    Inline,
    /// A process started for it.
    Process,
    /// One of the processes started beforehand.
    ProcessPool,
    /// A thread started for it.
    Thread,
    /// One of the threads started beforehand.
    ThreadPool,
    /// One event loop for all connections.
    Loop,
    /// The event loop of one of several processes.
    LoopPerProcess,
    /// A task, all of them on one thread.
    Task,
    /// A task, spread over several threads.
    SpreadTask,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Unit::Inline => "none",
            Unit::Process => "process",
            Unit::ProcessPool => "process pool",
            Unit::Thread => "thread",
            Unit::ThreadPool => "thread pool",
            Unit::Loop => "one loop",
            Unit::LoopPerProcess => "one loop in each process",
            Unit::Task => "task (N:1)",
            Unit::SpreadTask => "task (M:N)",
        })
    }
}

/// Who calls accept(2), and on which listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// There is nobody else.
    Sole,
    /// The process that forks the others.
    Parent,
    /// All workers, or one that passes descriptors to them.
    AllOrOnePasses,
    /// The main thread, which starts the others.
    MainThread,
    /// The main thread, into a queue.
    MainThreadQueues,
    /// The event loop.
    Loop,
    /// Whichever thread gets the event.
    AnyThread,
    /// Each loop at a listener of its own, or at one that all share.
    EachLoop,
    /// One task.
    Task,
}

impl fmt::Display for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Accept::Sole => "sole acceptor",
            Accept::Parent => "parent accepts",
            Accept::AllOrOnePasses => "all accept, or one accepts and passes descriptors",
            Accept::MainThread => "main thread accepts",
            Accept::MainThreadQueues => "main thread accepts and queues",
            Accept::Loop => "loop accepts",
            Accept::AnyThread => "whichever thread gets the event",
            Accept::EachLoop => "a listener each, or one shared by all loops",
            Accept::Task => "one task accepts",
        })
    }
}

/// The limit a model is known to meet first. Displayed whole: `name; detail`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wall {
    /// What it is called: `FD_SETSIZE`.
    pub name: &'static str,
    /// What it consists in, for lists.
    pub detail: &'static str,
    /// Where it stands.
    pub at: Bound,
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.name, self.detail)
    }
}

/// How many connections a wall lets through, and what becomes of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// So many are served at a time; further ones wait until one has left.
    Waiting(u64),
    /// One for each worker is served at a time; further ones wait.
    WaitingPerWorker,
    /// So many are held; further ones are turned away.
    Shedding(u64),
    /// As many as the machine has room for.
    Machine,
}

/// How many workers a model has unless it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// It has none beside itself, and takes no number.
    None,
    /// So many.
    Fixed(usize),
    /// One for each CPU it may run on.
    PerCpu,
}

/// What a connection costs the machine beside its descriptor, for estimates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cost {
    /// Nothing more.
    Descriptor,
    /// A thread, to be started and ended.
    Thread,
    /// A process, to be forked, looked at, killed and waited for.
    Process,
}

/// What the kernel must offer for a model, and may deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Facility {
    /// io_uring(7).
    IoUring,
}

/// How a model is drawn in every chart: a hue per family, marker and dash within
/// it, since fifteen colours that everyone can tell apart do not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// The family's hue: red, green, blue.
    pub colour: [u8; 3],
    /// The marker at each point.
    pub marker: Marker,
    /// Whether its line is dashed.
    pub dashed: bool,
}

impl Look {
    const fn of(colour: [u8; 3], marker: Marker, dashed: bool) -> Look {
        Look {
            colour,
            marker,
            dashed,
        }
    }
}

/// The shape of a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// ●
    Circle,
    /// ■
    Square,
    /// ▲
    Triangle,
    /// ◆
    Diamond,
}

/// The hues are Okabe and Ito's, darkened where they would be pale as a line.
const BLACK: [u8; 3] = [60, 60, 60];
const VERMILION: [u8; 3] = [213, 94, 0];
const ORANGE: [u8; 3] = [214, 143, 0];
const PURPLE: [u8; 3] = [176, 86, 140];
const GREEN: [u8; 3] = [0, 140, 102];
const BLUE: [u8; 3] = [0, 104, 168];
const SKY: [u8; 3] = [62, 160, 216];

/// How a server that is not one of ours is drawn.
pub const FOREIGN_LOOK: Look = Look::of(PURPLE, Marker::Diamond, true);

/// A flag of one model's own, usable as a variant word: `prefork:accept=mutex`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// The word before `=`, and the flag without its dashes.
    pub key: &'static str,
    /// What may follow `=`.
    pub values: Values,
    /// One line for `--help`.
    pub doc: &'static str,
}

/// What a variant's value may be. Displayed the way usage texts show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// One of these words; the first is the default.
    OneOf(&'static [&'static str]),
    /// A whole number from 1 to [`MAX_WORKERS`].
    Count,
    /// A number of bytes: `65536`, `64KiB`, `128MiB`, `1GiB`.
    Size,
    /// No value: the word alone switches it on.
    Switch,
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

/// No model is called that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownModel {
    /// The name that was asked for.
    pub asked: String,
    /// The name or alias most like it.
    pub nearest: Option<&'static str>,
}

impl fmt::Display for UnknownModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no model is called '{}'", self.asked)?;
        if let Some(nearest) = self.nearest {
            write!(f, "; did you mean '{nearest}'?")?;
        }
        let list: Vec<_> = MODELS.iter().map(|model| model.name).collect();
        write!(f, " The models are: {}", list.join(", "))
    }
}

impl std::error::Error for UnknownModel {}

impl Model {
    /// Turns variant words (`accept=mutex,workers=64`) into this model's
    /// server flags (`--accept mutex --workers 64`). No words, no flags.
    ///
    /// # Errors
    /// [`BadVariant`] for an unknown or repeated key, or a value the key does
    /// not take; its text names what is allowed.
    pub fn flags(&self, words: &str) -> Result<Vec<String>, BadVariant> {
        let mut flags = Vec::new();
        for word in words.split(',').filter(|word| !word.is_empty()) {
            let (key, value) = match word.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (word, None),
            };
            let bad = |why: String| BadVariant {
                word: word.to_owned(),
                why,
            };
            if key == BROKEN_KEY {
                return Err(bad(self.broken_on_purpose(value)));
            }
            let variant = self
                .variants
                .iter()
                .find(|variant| variant.key == key)
                .ok_or_else(|| bad(self.keys_it_takes()))?;
            variant.values.check(value).map_err(bad)?;
            let flag = format!("--{key}");
            if flags.contains(&flag) {
                return Err(bad(format!("{key} is given twice")));
            }
            flags.push(flag);
            flags.extend(value.map(str::to_owned));
        }
        Ok(flags)
    }

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

    /// Whether the model has a flag of its own by this name.
    pub fn takes(&self, key: &str) -> bool {
        self.variants.iter().any(|variant| variant.key == key)
    }

    fn broken_on_purpose(&self, how: Option<&str>) -> String {
        let (name, how) = (self.name, how.unwrap_or("HOW"));
        format!(
            "a server that is broken on purpose is for labs to show and never compared; \
             `tenk serve {name} --{BROKEN_KEY} {how}` runs it, `tenk lab` lists the labs"
        )
    }

    fn keys_it_takes(&self) -> String {
        if self.variants.is_empty() {
            return format!("{} has no variants", self.name);
        }
        let keys: Vec<_> = self.variants.iter().map(Variant::to_string).collect();
        format!("{} takes {}", self.name, keys.join(", "))
    }
}

/// A variant word that the model does not understand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadVariant {
    /// The word as it was written.
    pub word: String,
    /// What is wrong with it, and what is allowed.
    pub why: String,
}

impl fmt::Display for BadVariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "variant '{}': {}", self.word, self.why)
    }
}

impl std::error::Error for BadVariant {}

impl Values {
    /// Whether `value` may follow the key.
    ///
    /// # Errors
    /// A sentence that says what may.
    pub fn check(&self, value: Option<&str>) -> Result<(), String> {
        let good = match (self, value) {
            (Values::Switch, given) => given.is_none(),
            (_, None) => false,
            (Values::OneOf(words), Some(word)) => words.contains(&word),
            (Values::Count, Some(word)) => parse_count(word).is_ok(),
            (Values::Size, Some(word)) => parse_size(word).is_ok(),
        };
        match self {
            _ if good => Ok(()),
            Values::Switch => Err("it takes no value".to_owned()),
            values => Err(format!("the value must be {values}")),
        }
    }
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Values::OneOf(words) => f.write_str(&words.join("|")),
            Values::Count => f.write_str("N"),
            Values::Size => f.write_str("SIZE"),
            Values::Switch => Ok(()),
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.values {
            Values::Switch => f.write_str(self.key),
            values => write!(f, "{}={values}", self.key),
        }
    }
}

/// A number of workers, 1 to [`MAX_WORKERS`].
///
/// # Errors
/// A sentence that names the range.
pub fn parse_count(word: &str) -> Result<usize, String> {
    match word.parse() {
        Ok(count @ 1..=MAX_WORKERS) => Ok(count),
        _ => Err(format!("expected a number from 1 to {}", MAX_WORKERS)),
    }
}

/// A number of bytes with an optional unit: `4096`, `64KiB`, `128MiB`, `1GiB`
/// (powers of 1024; `k`, `m` and `g` mean the same).
///
/// # Errors
/// A sentence that shows the form.
pub fn parse_size(word: &str) -> Result<usize, String> {
    let unit_at = word
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(word.len());
    let (digits, unit) = word.split_at(unit_at);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return Err(format!("'{unit}' is no unit of size: use KiB, MiB or GiB")),
    };
    digits
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "expected a size such as 65536, 64KiB or 128MiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: Model = Model {
        name: "pool",
        variants: &[
            Variant {
                key: "accept",
                values: Values::OneOf(&["shared", "mutex"]),
                doc: "",
            },
            Variant {
                key: "workers",
                values: Values::Count,
                doc: "",
            },
            Variant {
                key: "quiet",
                values: Values::Switch,
                doc: "",
            },
        ],
        ..MODELS[0]
    };

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
    fn variant_words_become_flags() {
        let flags = POOL.flags("accept=mutex,workers=64,quiet").unwrap();
        assert_eq!(flags, ["--accept", "mutex", "--workers", "64", "--quiet"]);
        assert_eq!(POOL.flags("").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn bad_variant_words_name_what_is_allowed() {
        let why = |words| POOL.flags(words).unwrap_err().to_string();
        assert!(why("speed=9").contains("pool takes accept=shared|mutex, workers=N, quiet"));
        assert!(why("accept=flock").contains("shared|mutex"));
        assert!(why("accept").contains("shared|mutex"));
        assert!(why("workers=0").contains("must be N"));
        assert!(why("quiet=yes").contains("takes no value"));
        assert!(why("workers=2,workers=3").contains("given twice"));
        assert!(
            MODELS[0]
                .flags("a=b")
                .unwrap_err()
                .to_string()
                .contains("has no variants")
        );
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

    #[test]
    fn sizes_have_units_and_do_not_overflow() {
        assert_eq!(parse_size("64KiB"), Ok(65_536));
        assert_eq!(parse_size("2m"), Ok(2 << 20));
        assert_eq!(parse_size("7"), Ok(7));
        assert!(parse_size("99999999999GiB").is_err());
        assert!(parse_size("MiB").is_err());
        assert!(parse_size("5 parsecs").is_err());
        assert!(parse_size("-1").is_err());
    }
}
