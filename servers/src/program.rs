//! What no model repeats: flags, limits, ledger, exit code.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::JoinHandle;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use encoding_rs::Encoding;
use nix::libc::c_int;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::accept::Policy;
use crate::address::Address;
use crate::broken::Broken;
use crate::error::in_a_sentence;
use crate::ledger::{Ledger, Shortage};
use crate::limits::Limits;
use crate::listener::{Recipe, Unbound};
use crate::models::{self, BROKEN_KEY, Model, Values, Variant};
use crate::service::{self, Handler, Kind, Service};
use crate::sys::memory;
use crate::trace::Worker;

/// The exit code of a model that this host cannot run.
pub const UNAVAILABLE: u8 = 4;

/// The flags every server takes.
#[derive(Debug, Args)]
struct Flags {
    /// Address to listen on: IP:PORT, where port 0 takes any free port, or unix:PATH
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: Address,
    /// What to do with the bytes received
    #[arg(long, value_enum, default_value_t = Kind::Echo)]
    service: Kind,
    /// Connections the kernel keeps until they are accepted
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(i32).range(1..))]
    backlog: i32,
    /// Open connections taken at most; further ones are closed at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_conns: Option<u64>,
    /// The same for one client address
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_conns_per_ip: Option<u32>,
    /// Close a connection after this long without an answered request
    #[arg(long, value_name = "TIME", value_parser = positive_time)]
    idle_timeout: Option<Duration>,
    /// Close a connection after this many bytes received and answered
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    close_after_bytes: Option<u64>,
    /// CPU work per request, in loop iterations
    #[arg(long, value_name = "N", default_value_t = 0)]
    work_iters: u64,
    /// Print what one of these iterations takes, and end
    #[arg(long, hide = true)]
    calibrate: bool,
    /// Time each request spends in a blocking call
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    block: Duration,
    /// Descriptors a process may have open [default: as many as the hard limit allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    nofile: Option<u64>,
    /// Keep the counters in this file, for others to read
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Print a line for every connect, message, wake-up, EAGAIN and close: when, pid:thread, descriptor, what
    #[arg(long)]
    trace: bool,
    /// Encoding of the messages that --trace prints
    #[arg(long, value_name = "LABEL", default_value = "utf-8", requires = "trace", value_parser = encoding)]
    encoding: &'static Encoding,
}

/// What a model's page is given: its settings, and what it makes its sockets from.
pub struct Server {
    /// The service every connection gets.
    pub service: Service,
    ledger: Ledger,
    trace: Option<&'static Encoding>,
    policy: &'static Policy,
    listen: Address,
    backlog: i32,
    own: ArgMatches,
    calibrate: bool,
}

/// Runs the model called `name`: reads the flags, hands over to `serve`, and
/// turns what it returns into the program's exit code: 0, 1 for an error, 2 for
/// wrong usage, 4 ([`UNAVAILABLE`]) for an error of kind `Unsupported`.
pub fn main(name: &str, serve: fn(Server) -> io::Result<()>) -> ExitCode {
    match prepare(name) {
        Err(refusal) => {
            // A closed stdout or stderr leaves nobody to tell.
            let _ = refusal.print();
            ExitCode::from(u8::try_from(refusal.exit_code()).unwrap_or(2))
        }
        Ok(server) => match server.and_then(|server| run(server, serve)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => ExitCode::from(report(name, &error)),
        },
    }
}

fn run(server: Server, serve: fn(Server) -> io::Result<()>) -> io::Result<()> {
    match server.calibrate {
        true => writeln!(
            io::stdout(),
            "ns per iteration {}",
            service::ns_per_iteration()
        ),
        false => serve(server),
    }
}

/// Ends the program with what one of its threads has come to, for threads whose
/// failure leaves nothing worth going on with.
pub fn end(name: &str, result: io::Result<()>) -> ! {
    std::process::exit(result.err().map_or(0, |error| report(name, &error).into()))
}

/// Says what went wrong, and returns the exit code for it.
fn report(name: &str, error: &io::Error) -> u8 {
    let _ = writeln!(io::stderr(), "{name}: {error}");
    match error.kind() {
        io::ErrorKind::Unsupported => UNAVAILABLE,
        _ => 1,
    }
}

/// The outer error is the user's (or a call for help), the inner the system's.
fn prepare(name: &str) -> Result<io::Result<Server>, clap::Error> {
    let model = models::find(name)
        .map_err(|error| clap::Error::raw(ErrorKind::InvalidValue, format!("{error}\n")))?;
    let own = command(model).try_get_matches()?;
    let flags = Flags::from_arg_matches(&own)?;
    if flags.listen.is_unix() && flags.max_conns_per_ip.is_some() {
        let text = "--max-conns-per-ip counts addresses, and clients of a Unix socket have none: use --max-conns\n";
        return Err(clap::Error::raw(ErrorKind::ArgumentConflict, text));
    }
    Ok(Server::new(model, flags, own))
}

fn command(model: &Model) -> Command {
    let about = format!("{}: {}", model.family, model.summary);
    // The doc comment of `Flags` would otherwise stand for the description.
    Flags::augment_args(Command::new(model.name))
        .about(about)
        .long_about(None)
        .version(env!("CARGO_PKG_VERSION"))
        .args(model.variants.iter().map(own_flag))
        .arg(broken_flag(model))
}

/// Which ways there are to break this model.
fn broken_flag(model: &Model) -> Arg {
    let suited = Broken::ALL.into_iter().filter(|way| way.suits(model));
    let values = suited.map(|way| PossibleValue::new(way.word()).help(way.doc()));
    Arg::new(BROKEN_KEY)
        .long(BROKEN_KEY)
        .value_name("HOW")
        .value_parser(PossibleValuesParser::new(values))
        .help_heading("Broken on purpose")
        .help("Do this wrong, for a lab to show what comes of it")
}

/// The way that was asked for.
fn broken(own: &ArgMatches) -> Option<Broken> {
    let asked = own.get_one::<String>(BROKEN_KEY)?;
    let mut all = Broken::ALL.into_iter();
    all.find(|way| way.word() == asked)
}

/// A model's own flag, as the registry describes it.
fn own_flag(variant: &Variant) -> Arg {
    let arg = Arg::new(variant.key).long(variant.key).help(variant.doc);
    match variant.values {
        Values::OneOf(words) => arg.value_parser(words.to_vec()).default_value(words[0]),
        Values::Count => arg.value_name("N").value_parser(models::parse_count),
        Values::Size => arg.value_name("SIZE").value_parser(models::parse_size),
        Values::Switch => arg.action(ArgAction::SetTrue),
    }
}

impl Server {
    fn new(model: &Model, flags: Flags, own: ArgMatches) -> io::Result<Server> {
        let service = Service {
            kind: flags.service,
            work_iters: flags.work_iters,
            block: flags.block,
            close_after_bytes: flags.close_after_bytes,
        };
        let policy = Policy {
            limits: Limits::new(flags.max_conns, flags.max_conns_per_ip)?,
            idle_timeout: flags.idle_timeout,
            broken: broken(&own),
        };
        limit_descriptors(flags.nofile)?;
        let ledger = create_ledger(model, flags.ledger.as_deref(), workers(model, &own))?;
        if let Some(bytes) = model
            .takes("ballast")
            .then(|| own.get_one("ballast"))
            .flatten()
        {
            memory::touch(*bytes)?;
        }
        Ok(Server {
            service,
            ledger,
            trace: flags.trace.then_some(flags.encoding),
            policy: Box::leak(Box::new(policy)),
            listen: flags.listen,
            backlog: flags.backlog,
            own,
            calibrate: flags.calibrate,
        })
    }

    /// socket(2), with these flags; see [`Recipe::socket`]. Whoever binds it and
    /// listens has a listener, whose connections count as the first worker's.
    ///
    /// # Errors
    /// A sentence that names the address.
    pub fn socket(&self, flags: c_int) -> io::Result<Unbound> {
        let recipe = Recipe {
            address: self.listen,
            backlog: self.backlog,
            policy: self.policy,
            worker: self.worker(0),
        };
        recipe.socket(flags)
    }

    /// The service, for one worker.
    pub fn handler(&self) -> Handler {
        Handler::new(self.service)
    }

    /// The worker of this number; the first in a model without workers.
    pub fn worker(&self, number: usize) -> Worker {
        Worker::new(self.ledger.slot(number), self.trace)
    }

    /// Counts and says that a worker's thread could not be started, if it could
    /// not: the server runs with those it could get.
    pub fn note_start(&self, started: io::Result<JoinHandle<()>>) {
        if let Err(error) = started {
            self.worker(0).slot.accept_failed(Shortage::of(&error));
            let _ = writeln!(io::stderr(), "a worker is missing: {error}");
        }
    }

    /// How many workers the model is to have; 1 where it has none.
    pub fn workers(&self) -> usize {
        self.ledger.workers()
    }

    /// The word chosen for one of the model's own flags.
    pub fn word(&self, key: &str) -> &str {
        self.own.get_one::<String>(key).map_or("", String::as_str)
    }

    /// Whether a switch of the model's own is on.
    pub fn switched_on(&self, key: &str) -> bool {
        self.own.get_flag(key)
    }

    /// A size among the model's own flags.
    pub fn size(&self, key: &str) -> Option<usize> {
        self.own.get_one(key).copied()
    }
}

/// Raises the soft limit on descriptors to the hard one, or sets it to what was
/// asked for: most systems give 1024 for the sake of programs that use select(2).
fn limit_descriptors(asked: Option<u64>) -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, asked.unwrap_or(hard), hard).map_err(|error| {
        let asked = asked.unwrap_or(hard);
        let text = format!("--nofile {asked}: {error}; the hard limit is {hard}");
        in_a_sentence(error.into(), text)
    })
}

/// As many as were asked for, or as the registry says; 1 in a model without.
fn workers(model: &Model, own: &ArgMatches) -> usize {
    if !model.takes("workers") {
        return 1;
    }
    let cpus = || std::thread::available_parallelism().map_or(1, usize::from);
    let asked = own.get_one("workers").copied();
    asked.unwrap_or_else(|| model.default_workers(cpus()).unwrap_or(1))
}

fn create_ledger(model: &Model, path: Option<&Path>, workers: usize) -> io::Result<Ledger> {
    Ledger::create(path, model.name, workers).map_err(|error| {
        let Some(path) = path else { return error };
        let text = format!("cannot create ledger {}: {error}", path.display());
        in_a_sentence(error, text)
    })
}

fn positive_time(word: &str) -> Result<Duration, String> {
    match humantime::parse_duration(word) {
        Ok(Duration::ZERO) => Err("the time must not be zero".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(format!("{error} (a time is written like 30s or 500ms)")),
    }
}

fn encoding(label: &str) -> Result<&'static Encoding, String> {
    Encoding::for_label(label.as_bytes())
        .ok_or_else(|| "no such encoding; try utf-8, gbk or big5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_models_command_line_is_consistent() {
        for model in models::MODELS {
            command(model).debug_assert();
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let refused = |words: &[&str]| {
            let line = std::iter::once(&"epoll").chain(words);
            command(&models::MODELS[0])
                .try_get_matches_from(line)
                .is_err()
        };
        assert!(!refused(&[]));
        assert!(refused(&["--listen", "nowhere"]));
        assert!(refused(&["--backlog", "0"]));
        assert!(refused(&["--max-conns", "0"]));
        assert!(refused(&["--idle-timeout", "0s"]));
        assert!(refused(&["--idle-timeout", "99999999999999999999h"]));
        assert!(refused(&["--work-iters", "-1"]));
        assert!(
            refused(&["--encoding", "gbk"]),
            "without --trace it would do nothing"
        );
        assert!(refused(&["--trace", "--encoding", "klingon"]));
        assert!(refused(&["--stdin"]), "another model's flag");
        assert!(
            refused(&["--broken", "no-drain"]),
            "iterative has no events"
        );
        assert!(!refused(&["--broken", "nagle"]));
    }
}
