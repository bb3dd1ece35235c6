//! The registry: one entry per server, the only list of models there is.
//!
//! `harness list`, `--help`, the README and the contract suite derive from it;
//! `tests/registry.rs` keeps it in step with the binaries in `src/bin/`.

use std::fmt;

/// One concurrency model: what it is called, and where it stands on the four
/// axes by which servers are told apart.
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
    pub readiness: &'static str,
    /// What serves a connection: a process, a thread, a loop, a task.
    pub unit: &'static str,
    /// Who calls accept(2), and on which listener.
    pub accept: &'static str,
    /// Where a connection lives after it was accepted.
    pub placement: &'static str,
    /// Number of the design in Stevens, *UNIX Network Programming* vol. 1, ch. 30.
    pub unp: Option<&'static str>,
    /// The limit it is known to meet first.
    pub wall: &'static str,
    /// Manual pages to read beside it.
    pub man: &'static [&'static str],
    /// The flags that only this model (or a few like it) takes.
    pub variants: &'static [Variant],
}

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
    /// A whole number from 1 to [`MAX_WORKERS`](crate::ledger::MAX_WORKERS).
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
        readiness: "blocking",
        unit: "none",
        accept: "sole acceptor",
        placement: "inline",
        unp: Some("0"),
        wall: "the second client waits until the first has left",
        man: &["accept(2)", "listen(2)"],
        variants: &[],
    },
    Model {
        name: "process",
        aliases: &["fork"],
        family: "process per connection",
        summary: "fork a child for every client",
        readiness: "blocking",
        unit: "process",
        accept: "parent accepts",
        placement: "child owns the connection",
        unp: Some("1"),
        wall: "processes: pid_max, RLIMIT_NPROC, the pids cgroup",
        man: &["fork(2)", "waitpid(2)", "signal(7)"],
        variants: &[BALLAST],
    },
    Model {
        name: "prefork",
        aliases: &[],
        family: "preforked process pool",
        summary: "processes forked beforehand, each serving one client at a time",
        readiness: "blocking",
        unit: "process pool",
        accept: "all accept, or one accepts and passes descriptors",
        placement: "worker owns the connection",
        unp: Some("2-5"),
        wall: "clients beyond the number of workers wait",
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
        readiness: "blocking",
        unit: "thread",
        accept: "main thread accepts",
        placement: "thread owns the connection",
        unp: Some("6"),
        wall: "threads: pid_max, threads-max, max_map_count, the pids cgroup",
        man: &["pthread_create(3)", "clone(2)"],
        variants: &[STACK_SIZE, BALLAST],
    },
    Model {
        name: "thread-pool",
        aliases: &[],
        family: "prethreaded pool with a bounded queue",
        summary: "threads started beforehand, each serving one client at a time",
        readiness: "blocking",
        unit: "thread pool",
        accept: "main thread accepts and queues",
        placement: "worker owns the connection",
        unp: Some("8"),
        wall: "clients beyond the number of workers wait",
        man: &["pthread_create(3)", "pthread_cond_wait(3)"],
        variants: &[WORKERS, STACK_SIZE],
    },
    Model {
        name: "nonblocking",
        aliases: &[],
        family: "busy-polling nonblocking sweep",
        summary: "ask every connection in turn, never sleep",
        readiness: "EAGAIN sweep",
        unit: "one loop",
        accept: "loop accepts",
        placement: "inline",
        unp: None,
        wall: "one system call per connection and sweep; a whole CPU even when idle",
        man: &["fcntl(2)", "recv(2)"],
        variants: &[],
    },
    Model {
        name: "select",
        aliases: &[],
        family: "select(2) reactor",
        summary: "one loop over a bitmap of 1024 descriptors",
        readiness: "level",
        unit: "one loop",
        accept: "loop accepts",
        placement: "inline",
        unp: None,
        wall: "FD_SETSIZE: descriptor numbers from 1024 up cannot be watched",
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
        readiness: "level",
        unit: "one loop",
        accept: "loop accepts",
        placement: "inline",
        unp: None,
        wall: "every turn costs in proportion to all connections, idle ones included",
        man: &["poll(2)"],
        variants: &[],
    },
    Model {
        name: "epoll",
        aliases: &["epoll-lt"],
        family: "epoll reactor, level-triggered",
        summary: "one loop, told only of the ready connections",
        readiness: "level",
        unit: "one loop",
        accept: "loop accepts",
        placement: "inline",
        unp: None,
        wall: "one CPU, then descriptors (RLIMIT_NOFILE)",
        man: &["epoll(7)", "epoll_ctl(2)", "epoll_wait(2)"],
        variants: &[],
    },
    Model {
        name: "epoll-et",
        aliases: &[],
        family: "epoll reactor, edge-triggered",
        summary: "one loop, told once of every change, so it drains to EAGAIN",
        readiness: "edge",
        unit: "one loop",
        accept: "loop accepts",
        placement: "inline",
        unp: None,
        wall: "one CPU, then descriptors (RLIMIT_NOFILE)",
        man: &["epoll(7)", "epoll_ctl(2)"],
        variants: &[],
    },
    Model {
        name: "epoll-oneshot",
        aliases: &[],
        family: "one epoll shared by a thread pool, EPOLLONESHOT",
        summary: "threads take events from one epoll, each event for one thread alone",
        readiness: "edge",
        unit: "thread pool",
        accept: "whichever thread gets the event",
        placement: "any thread, one at a time",
        unp: None,
        wall: "one more system call per event, to re-arm; descriptors",
        man: &["epoll(7)", "epoll_ctl(2)"],
        variants: &[WORKERS],
    },
    Model {
        name: "reuseport",
        aliases: &[],
        family: "multi-reactor, SO_REUSEPORT, shared nothing",
        summary: "an epoll loop in each of several processes, as in nginx",
        readiness: "level",
        unit: "one loop in each process",
        accept: "a listener each, or one shared by all loops",
        placement: "one loop owns the connection for life",
        unp: None,
        wall: "CPUs; the kernel's spread is blind to load; descriptors per process",
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
        readiness: "completion",
        unit: "one loop",
        accept: "loop accepts",
        placement: "inline",
        unp: None,
        wall: "one CPU; kernels and containers that deny io_uring",
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
        readiness: "edge",
        unit: "task (N:1)",
        accept: "one task accepts",
        placement: "inline",
        unp: None,
        wall: "one CPU, then descriptors (RLIMIT_NOFILE)",
        man: &["epoll(7)"],
        variants: &[],
    },
    Model {
        name: "tokio-multi",
        aliases: &[],
        family: "async tasks, work-stealing runtime",
        summary: "a task per connection, spread over a thread per CPU",
        readiness: "edge",
        unit: "task (M:N)",
        accept: "one task accepts",
        placement: "work stealing",
        unp: None,
        wall: "CPUs, then descriptors (RLIMIT_NOFILE)",
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

    /// Whether the model has a flag of its own by this name.
    pub fn takes(&self, key: &str) -> bool {
        self.variants.iter().any(|variant| variant.key == key)
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

/// A number of workers, 1 to [`MAX_WORKERS`](crate::ledger::MAX_WORKERS).
///
/// # Errors
/// A sentence that names the range.
pub fn parse_count(word: &str) -> Result<usize, String> {
    match word.parse() {
        Ok(count @ 1..=crate::ledger::MAX_WORKERS) => Ok(count),
        _ => Err(format!(
            "expected a number from 1 to {}",
            crate::ledger::MAX_WORKERS
        )),
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
