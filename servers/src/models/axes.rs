//! The axes by which models are told apart: readiness, unit, who accepts, the
//! wall, what a connection costs, and how each is drawn.

use std::fmt;

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
    pub(super) const fn of(colour: [u8; 3], marker: Marker, dashed: bool) -> Look {
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
pub(super) const BLACK: [u8; 3] = [60, 60, 60];
pub(super) const VERMILION: [u8; 3] = [213, 94, 0];
pub(super) const ORANGE: [u8; 3] = [214, 143, 0];
pub(super) const PURPLE: [u8; 3] = [176, 86, 140];
pub(super) const GREEN: [u8; 3] = [0, 140, 102];
pub(super) const BLUE: [u8; 3] = [0, 104, 168];
pub(super) const SKY: [u8; 3] = [62, 160, 216];

/// How a server that is not one of ours is drawn.
pub const FOREIGN_LOOK: Look = Look::of(PURPLE, Marker::Diamond, true);
