//! What will be run: the flags made sense of, once. After this nobody asks what the user typed.

pub mod budget;
pub mod estimate;
pub mod hosts;
pub mod instrumented;
pub mod pace;
pub mod placeholders;

use crate::base::error::{Exit, Failure};
use crate::base::machine::{available_cpus, cpu_list, descends_from};
use crate::base::settings::network_sysctls;
use crate::base::text::visible;
use crate::cli::rate::Rate;
use crate::cli::{Netns, RunFlags};
use crate::model::arm::{Arm, Subject, parse_arms};
use crate::model::disturbance::Limits;
use crate::model::instrumented::Instruments;
use crate::model::network::Network;
use crate::model::rate::Found;
use crate::model::service::Service;
use crate::model::transport::Transport;
use budget::Budget;
use hosts::{Places, ServerHost};
use loadgen::base::address::Address;
use loadgen::fleet::hosts::flags::HostFlags;
use loadgen::load::Load;
use loadgen::load::flags::{RunFlags as LoadRunFlags, ShapeFlags};
use loadgen::load::own::Rule;
use loadgen::load::sources::addresses_needed;
use loadgen::load::{CpuList, ProtocolName, Sources};
use loadgen::tally::slo::Slo;
use pace::Pace;
use servers::models::Model;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// The most IPv6 addresses that a private network's loopback is given.
const MOST_IPV6_SOURCES: usize = 1024;

/// The most trials one run may have: a bound on every list and file made from them.
const MAX_TRIALS: usize = 100_000;

/// Trials of every arm under every workload, unless it is said how many.
pub const REPEAT: u64 = 3;

/// The most workers that a server takes: its ledger has a line for each.
const MOST_WORKERS: u64 = servers::models::MAX_WORKERS as u64;

/// What the server is asked to do for each request besides answering it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HandlerCost {
    /// CPU work.
    pub work: Option<Duration>,
    /// A blocking call.
    pub block: Option<Duration>,
}

/// One workload: what is sent, and what it costs to answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// The load; its target is filled in once a server listens.
    pub load: Load,
    /// The cost.
    pub cost: HandlerCost,
    /// The share of each arm's own capacity that is offered, where no rate is.
    pub share: Option<f64>,
    /// What the share is, requests per second, by arm: filled in once the capacities are known; an arm without one did
    /// not serve the workload in a closed loop, and is not run.
    pub rates_per_s: BTreeMap<String, f64>,
}

impl Scenario {
    /// The load of an arm; none where there is nothing that its share could be of.
    fn load_of(&self, arm: &Arm) -> Option<Load> {
        let mut load = self.load.clone();
        if self.share.is_some() && !self.rates_per_s.is_empty() {
            load.rate_per_s = Some(*self.rates_per_s.get(&arm.label)?);
        }
        Some(load)
    }

    /// Whether the other is the same but for its rate: another level of the same load.
    pub fn is_level_of(&self, other: &Scenario) -> bool {
        let bare = |scenario: &Scenario| Load {
            rate_per_s: None,
            ..scenario.load.clone()
        };
        self.cost == other.cost && bare(self) == bare(other)
    }
}

/// Everything that a run needs to know.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is compared.
    pub arms: Vec<Arm>,
    /// Under which workloads.
    pub scenarios: Vec<Scenario>,
    /// What the servers do with bytes.
    pub service: Service,
    /// Workers asked for, where a model has them.
    pub workers: Option<u64>,
    /// Trials per arm and load; with a budget the most that it has time for.
    pub repeat: u64,
    /// What may end the trials before the last repeat.
    pub budget: Option<Budget>,
    /// How long things take on this machine.
    pub pace: Pace,
    /// What servers are looked into with, after the trials that count.
    pub looks: Instruments,
    /// The run's seed.
    pub seed: u64,
    /// The server's CPUs.
    pub server_cpus: Vec<usize>,
    /// The generator's CPUs.
    pub client_cpus: Vec<usize>,
    /// The command line that makes this run again; empty where no command line asked for it.
    pub command: Vec<String>,
    /// The scenario's name, if there is one.
    pub scenario: Option<String>,
    /// The network of every model's trial.
    pub network: Network,
    /// Whether the rates are still to be found.
    pub rate_is_auto: bool,
    /// The rates that were found, a workload each.
    pub rates: Vec<Found>,
    /// How much of the machine something else may use before a trial counts as disturbed.
    pub disturbed: Limits,
    /// The network of other server programs: the host's, unless a private one is required.
    pub command_network: Network,
    /// Why models have no private network although one was wanted; found out before the first trial.
    pub network_fallback: Option<String>,
    /// How long a server may take until it answers.
    pub start_timeout: Duration,
    /// How long it may take, once the load has gone, to answer once more and to close what its clients left.
    pub settle_timeout: Duration,
    /// Variables of other server programs, beside the user's own.
    pub variables: Vec<(String, String)>,
    /// The promises that rates are held against.
    pub slo: Vec<Slo>,
    /// Where servers listen that this run starts.
    pub server_ip: IpAddr,
    /// The host they are started on, if not this one.
    pub server_host: Option<ServerHost>,
    /// The hosts that the load comes from, if not this one.
    pub load_hosts: Option<HostFlags>,
}

/// One trial of a plan.
#[derive(Debug, Clone)]
pub struct TrialPlan {
    /// Block, from 1.
    pub block: u32,
    /// Trial in the order of running, from 1.
    pub trial: u32,
    /// Which arm.
    pub arm: Arm,
    /// Which load, with this trial's own seed.
    pub load: Load,
    /// What a request costs the server.
    pub cost: HandlerCost,
    /// The share of the arm's capacity that its rate is, where that was asked for.
    pub capacity_fraction: Option<f64>,
}

impl TrialPlan {
    /// Its load, now that its server listens.
    pub fn load_at(&self, addr: &Address) -> Load {
        let mut load = self.load.clone();
        load.target = addr.clone();
        load.target_name = match &self.arm.subject {
            Subject::Running { name, .. } => name.clone(),
            _ => None,
        };
        load
    }
}

impl Plan {
    /// Makes sense of the flags, or says what is wrong with them.
    pub fn new(flags: &RunFlags) -> Result<Plan, Failure> {
        let arms = arms(flags)?;
        let service = service_of(flags);
        let seed = flags.seed.unwrap_or_else(|| fastrand::u64(..));
        let (server_cpus, client_cpus) = split_cpus(flags)?;
        let places = hosts::places(flags)?;
        let (network, command_network) = match places.are_here() {
            true => networks(flags.place.netns),
            // Others have to get there.
            false => (Network::Host, Network::Host),
        };
        check_arms(flags, &arms, service, places.server_ip)?;
        if flags.rate.contains(&Rate::Auto) && flags.rate.len() > 1 {
            return Err(Failure::usage(
                "--rate auto stands alone: it is found out for every workload",
            ));
        }
        if !flags.slo.is_empty() && flags.rate.is_empty() {
            return Err(Failure::usage(
                "--slo is held against rates: give some, such as --rate 10%,30%,50%,70%,80%,90%,95%",
            ));
        }
        let per_s = flags.rate.iter().filter(|rate| rate.share().is_none());
        if flags.rate.iter().any(|rate| rate.share().is_some()) && per_s.count() > 0 {
            return Err(Failure::usage(
                "--rate: give shares of each arm's capacity (10%,50%,90%) or rates (1k,5k), not both: they would be \
                 levels of different loads",
            ));
        }
        let mut plan = Plan {
            scenarios: scenarios(flags, &places, service, &client_cpus, seed)?,
            arms,
            service,
            workers: flags.asked.workers,
            repeat: flags.repeat.unwrap_or(REPEAT),
            budget: None,
            pace: Pace::default(),
            looks: flags.looks.instruments(),
            seed,
            server_cpus,
            client_cpus,
            command: flags.command.clone(),
            scenario: flags.scenario.clone(),
            network,
            rate_is_auto: flags.rate.contains(&Rate::Auto),
            rates: Vec::new(),
            disturbed: Limits::default(),
            command_network,
            network_fallback: None,
            start_timeout: flags.servers.start_timeout,
            settle_timeout: flags.servers.settle_timeout,
            variables: flags.servers.env.clone(),
            slo: flags.slo.clone(),
            server_ip: places.server_ip,
            server_host: places.server_host,
            load_hosts: places.load_hosts,
        };
        if let Some(time) = flags.budget {
            plan.set_budget(time, flags.repeat)?;
        }
        plan.widen_loopback()?;
        match plan.trial_count() {
            0 => Err(Failure::usage("--repeat 0: from 1 up")),
            n if n > MAX_TRIALS => Err(Failure::usage(format!(
                "{n} trials are more than {MAX_TRIALS}; shorten a list or --repeat"
            ))),
            _ => Ok(plan),
        }
    }

    /// Gives the loopback of private networks the IPv6 addresses that connections come from: those that were asked for,
    /// else as many as have ports for the largest load.
    fn widen_loopback(&mut self) -> Result<(), Failure> {
        let over_ipv6 = |(arm, _): &(&Arm, &Scenario)| arm.transport == Transport::Tcp6;
        let loads = self.cells().filter(over_ipv6);
        let sources = loads.map(|(_, scenario)| sources_over_ipv6(&scenario.load));
        let needed = sources.max_by_key(Vec::len).unwrap_or_default();
        let is_private = matches!(self.network, Network::Private { .. });
        if is_private && needed.len() > MOST_IPV6_SOURCES {
            return Err(Failure::usage(format!(
                "--sources: at most {MOST_IPV6_SOURCES} IPv6 addresses are given to a private network; name a smaller \
                 one, or `--netns off`"
            )));
        }
        for network in [&mut self.network, &mut self.command_network] {
            if let Network::Private { ipv6_addresses, .. } = network {
                ipv6_addresses.clone_from(&needed);
            }
        }
        Ok(())
    }

    /// Lets time end the repeats, of which so many are made in any case.
    fn set_budget(&mut self, time: Duration, repeat: Option<u64>) -> Result<(), Failure> {
        if time.is_zero() {
            return Err(Failure::usage("--budget 0: give a time, such as 5m"));
        }
        let at_least = repeat.unwrap_or(1);
        self.budget = Some(Budget { time, at_least });
        self.fill_budget();
        Ok(())
    }

    fn fill_budget(&mut self) {
        if let Some(Budget { time, at_least }) = self.budget {
            let room = (MAX_TRIALS / self.round_len().max(1)) as u64;
            let repeats = estimate::rounds_within(self, time).min(room);
            self.repeat = repeats.max(at_least);
        }
    }

    /// Goes by what was learned of this machine.
    pub fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
        self.fill_budget();
    }

    /// The most trials of one repeat: every arm under every workload once.
    fn round_len(&self) -> usize {
        self.arms.len() * self.scenarios.len()
    }

    /// The repeat, from 0, that a trial belongs to.
    pub fn repeat_of(&self, trial: &TrialPlan) -> usize {
        (trial.block as usize - 1) / self.scenarios.len().max(1)
    }

    /// The models among the arms.
    pub fn models(&self) -> impl Iterator<Item = &'static Model> {
        self.arms.iter().filter_map(|arm| arm.subject.model())
    }

    /// Whether everything that is measured listens on this machine's loopback.
    pub fn is_on_loopback(&self) -> bool {
        let is_local = |arm: &Arm| match arm.subject {
            Subject::Running { ref addr, .. } => addr.is_local(),
            _ => self.server_ip.is_loopback(),
        };
        self.load_hosts.is_none() && self.server_host.is_none() && self.arms.iter().all(is_local)
    }

    /// The server's CPUs as rows have them: numbers, or the host whose they are.
    pub fn server_cpus_in_words(&self) -> String {
        match &self.server_host {
            None => cpu_list(&self.server_cpus),
            Some(ServerHost { name, cpus, .. }) => match cpus {
                Some(cpus) => format!("{} of {name}", cpu_list(cpus)),
                None => format!("all of {name}"),
            },
        }
    }

    /// The generator's.
    pub fn client_cpus_in_words(&self) -> String {
        let hosts = self
            .load_hosts
            .as_ref()
            .and_then(|flags| flags.load_hosts.as_ref());
        hosts.map_or_else(
            || cpu_list(&self.client_cpus),
            |hosts| format!("all of {hosts}"),
        )
    }

    /// How many trials there will be.
    pub fn trial_count(&self) -> usize {
        let repeat = usize::try_from(self.repeat).unwrap_or(usize::MAX);
        self.arms
            .len()
            .saturating_mul(self.scenarios.len())
            .saturating_mul(repeat)
    }

    /// Whether the capacity of each arm has to be found before there are rates.
    pub fn needs_capacities(&self) -> bool {
        self.scenarios.iter().any(|s| s.share.is_some())
    }

    /// Whether some load is offered at several rates.
    fn has_levels(&self) -> bool {
        let is_open = |s: &&Scenario| s.share.is_some() || s.load.rate_per_s.is_some();
        let open: Vec<&Scenario> = self.scenarios.iter().filter(is_open).collect();
        let others = |s: &Scenario| open.iter().filter(|o| o.is_level_of(s)).count();
        open.iter().any(|s| others(s) > 1)
    }

    /// All trials in their order: a block is one load with every arm once, in random order, and the blocks of
    /// different loads alternate, so that a drift of the machine meets everyone alike. Levels of load come in random
    /// order, too: rising ones would meet a server that the last one left warm, or in debt.
    pub fn trials(&self) -> Vec<TrialPlan> {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut trials = Vec::new();
        let has_levels = self.has_levels();
        for repetition in 0..self.repeat {
            let mut scenarios: Vec<&Scenario> = self.scenarios.iter().collect();
            if has_levels {
                random.shuffle(&mut scenarios);
            }
            for (w, scenario) in scenarios.into_iter().enumerate() {
                let block = repetition * self.scenarios.len() as u64 + w as u64 + 1;
                let mut arms: Vec<&Arm> = self.arms.iter().collect();
                random.shuffle(&mut arms);
                // One for all arms of a block: what is random in the load is then the same for all of them.
                let seed = random.u64(..);
                for arm in arms {
                    let Some(mut load) = scenario.load_of(arm) else {
                        continue;
                    };
                    load.seed = seed;
                    trials.push(TrialPlan {
                        block: block as u32,
                        trial: trials.len() as u32 + 1,
                        arm: arm.clone(),
                        load,
                        cost: scenario.cost,
                        capacity_fraction: scenario.share,
                    });
                }
            }
        }
        trials
    }

    /// Every arm under every workload, in the order in which blocks come.
    pub fn cells(&self) -> impl Iterator<Item = (&Arm, &Scenario)> {
        self.scenarios
            .iter()
            .flat_map(|scenario| self.arms.iter().map(move |arm| (arm, scenario)))
    }

    /// Connections that an arm's model is known to serve at a time, where the load has more and none of them ends to
    /// make room: nothing is learned by waiting for the others.
    pub fn known_limit(&self, arm: &Arm, load: &Load) -> Option<u64> {
        let most = self.served_at_once(arm)?;
        (load.population() > most && load.requests_per_conn.is_none()).then_some(most)
    }

    /// Whether the arm's model is known to meet a wall under this load: its first trial says so, and another says the
    /// same again.
    pub fn meets_known_wall(&self, arm: &Arm, load: &Load) -> bool {
        let held = arm.subject.model().and_then(Model::held_at_most);
        self.known_limit(arm, load).is_some() || held.is_some_and(|most| load.population() > most)
    }

    /// Connections that the arm can have in service together, the others waiting until one of them ends; none where
    /// nobody waits.
    pub fn served_at_once(&self, arm: &Arm) -> Option<u64> {
        let model = arm.subject.model()?;
        model.served_at_once(self.workers_in_force(arm))
    }

    /// Workers of the arm's server: as many as are asked for, or as its model has by default; 1 where there are none.
    pub fn workers_in_force(&self, arm: &Arm) -> u64 {
        let model = arm.subject.model();
        let default = model.and_then(|model| model.default_workers(self.server_cpus.len()));
        self.workers_of(arm)
            .or(default.map(|n| n as u64))
            .unwrap_or(1)
    }

    /// The workers that were asked for an arm that has a number of them: in its variant, else by `--workers`.
    pub fn workers_of(&self, arm: &Arm) -> Option<u64> {
        let Subject::Model { flags, .. } = &arm.subject else {
            return None;
        };
        let own = flags.iter().skip_while(|flag| *flag != "--workers").nth(1);
        let own = own.and_then(|number| number.parse().ok());
        own.or(self.workers)
            .filter(|_| arm.subject.takes("workers"))
    }
}

/// The network of a model's trial, and of any other program's.
fn networks(asked: Netns) -> (Network, Network) {
    let private = |required| Network::Private {
        required,
        sysctls: network_sysctls(),
        ipv6_addresses: Vec::new(),
    };
    match asked {
        Netns::Off => (Network::Host, Network::Host),
        Netns::Auto => (private(false), Network::Host),
        Netns::Require => (private(true), private(true)),
    }
}

/// Refuses what some arm cannot be asked for.
fn check_arms(
    flags: &RunFlags,
    arms: &[Arm],
    service: Service,
    server_ip: IpAddr,
) -> Result<(), Failure> {
    check_service(flags, arms, service)?;
    check_tls(flags, arms)?;
    check_sources(flags, arms, server_ip)?;
    check_workers(flags, arms)
}

/// Refuses a service that some arm does not offer.
fn check_service(flags: &RunFlags, arms: &[Arm], service: Service) -> Result<(), Failure> {
    if flags.load.protocol == ProtocolName::Resp && arms.iter().any(|a| a.subject.model().is_some())
    {
        return Err(Failure::usage(
            "--protocol resp is for --server and --target: the models answer an echo, not +PONG",
        ));
    }
    let other = arms.iter().find(|arm| arm.subject.model().is_none());
    if let Some(other) =
        other.filter(|_| !flags.asked.work.is_empty() || !flags.asked.block.is_empty())
    {
        return Err(Failure::usage(format!(
            "--work and --block are done by the models: {} would not do them, and could not be compared",
            other.label
        )));
    }
    if flags.load.protocol_in_force() == ProtocolName::Own {
        return check_own(flags, arms);
    }
    let spoken = protocol_of(flags, service);
    if flags.load.protocol != ProtocolName::Echo && flags.load.protocol != spoken {
        return Err(Failure::usage(format!(
            "--service {} speaks another protocol than --protocol {}: give one of the two",
            service.name(),
            format!("{:?}", flags.load.protocol).to_lowercase()
        )));
    }
    Ok(())
}

/// The IPv6 addresses that a loopback needs besides ::1 for this load to come from.
fn sources_over_ipv6(load: &Load) -> Vec<Ipv6Addr> {
    let (first, most) = (
        Ipv6Addr::new(0xfd74, 0x656e, 0x6b, 0, 0, 0, 0, 1),
        MOST_IPV6_SOURCES,
    );
    let all: Vec<IpAddr> = match &load.sources {
        Sources::Auto => match addresses_needed(load) {
            0 | 1 => Vec::new(),
            many => {
                let more = (0..many.min(most as u64)).map(|n| first.to_bits() + u128::from(n));
                more.map(|bits| Ipv6Addr::from_bits(bits).into()).collect()
            }
        },
        Sources::List(list) => list.clone(),
        Sources::Network(network) => network.hosts().take(most + 1).collect(),
    };
    let of_ipv6 = |address: IpAddr| match address {
        IpAddr::V6(address) if !address.is_loopback() => Some(address),
        _ => None,
    };
    all.into_iter().filter_map(of_ipv6).collect()
}

/// Refuses source addresses from which some arm's server cannot be reached.
fn check_sources(flags: &RunFlags, arms: &[Arm], server_ip: IpAddr) -> Result<(), Failure> {
    let sources = &flags.load.sources;
    let Some(is_ipv4) = sources.is_ipv4() else {
        return Ok(());
    };
    // A running server's address is the load's own, and is checked with it.
    let started = arms
        .iter()
        .filter(|arm| !matches!(arm.subject, Subject::Running { .. }));
    let mut places = started.map(|arm| match arm.transport {
        Transport::Unix => (arm, "a Unix socket".to_string(), false),
        Transport::Tcp6 => (arm, "::1".into(), !is_ipv4),
        Transport::Tcp => (arm, server_ip.to_string(), is_ipv4 == server_ip.is_ipv4()),
    });
    match places.find(|(_, _, is_reached)| !is_reached) {
        None => Ok(()),
        Some((arm, place, _)) => Err(Failure::usage(format!(
            "--sources {sources}: {} listens at {place}, which nobody reaches from there: give addresses of its kind, or \
             leave it to a run of its own",
            arm.label
        ))),
    }
}

/// The models speak no TLS.
fn check_tls(flags: &RunFlags, arms: &[Arm]) -> Result<(), Failure> {
    match arms.iter().find(|arm| arm.subject.model().is_some()) {
        Some(model) if flags.load.tls.tls => Err(Failure::usage(format!(
            "--tls is for --server and --target: {} speaks none",
            model.label
        ))),
        _ => Ok(()),
    }
}

/// Refuses an own protocol of which it is certain that models do not speak it.
fn check_own(flags: &RunFlags, arms: &[Arm]) -> Result<(), Failure> {
    let model = arms.iter().find(|arm| arm.subject.model().is_some());
    match (model, &flags.load.greeting) {
        (Some(model), Some(_)) => Err(Failure::usage(format!(
            "--greeting is for --server and --target: {} says nothing before it is asked",
            model.label
        ))),
        _ => Ok(()),
    }
}

/// Refuses a number of workers that no arm takes.
fn check_workers(flags: &RunFlags, arms: &[Arm]) -> Result<(), Failure> {
    if flags
        .asked
        .workers
        .is_some_and(|n| !(1..=MOST_WORKERS).contains(&n))
    {
        return Err(Failure::usage(format!(
            "--workers: from 1 to {MOST_WORKERS}"
        )));
    }
    if flags.asked.workers.is_some() && !arms.iter().any(|arm| arm.subject.takes("workers")) {
        return Err(Failure::usage(format!(
            "--workers: none of {} has workers (`tenk list --long` says which models do)",
            labels(arms)
        )));
    }
    Ok(())
}

fn labels(arms: &[Arm]) -> String {
    let labels: Vec<&str> = arms.iter().map(|arm| arm.label.as_str()).collect();
    labels.join(", ")
}

/// The models, then the commands, then the running server.
fn arms(flags: &RunFlags) -> Result<Vec<Arm>, Failure> {
    let mut arms = match flags.model.is_empty() {
        true => Vec::new(),
        false => parse_arms(&flags.model.join(","))?,
    };
    if flags.name.len() > flags.server.len() {
        return Err(Failure::usage(
            "--name is what a --server is called: give no more of them than servers",
        ));
    }
    for (at, command) in flags.server.iter().enumerate() {
        if !flags.commands_are_checked {
            placeholders::check("--server", command, &flags.servers.env)?;
        }
        let name = flags.name.get(at).cloned();
        let name = name.unwrap_or_else(|| placeholders::program_name(command));
        arms.push(Arm {
            label: unused_label(&visible(&name), &arms),
            subject: Subject::Command {
                line: command.clone(),
                folder: std::env::current_dir().unwrap_or_default(),
            },
            // Rows are read by people and their terminals.
            variant: Some(visible(command)),
            transport: match placeholders::names_socket(command) {
                true => Transport::Unix,
                false => Transport::Tcp,
            },
        });
    }
    let mut arms = over_all(arms, &flags.asked.transport)?;
    if let Some(target) = &flags.target {
        let addr = target.address(flags.load.connect_timeout);
        arms.push(Arm {
            label: target.to_string(),
            subject: Subject::Running {
                name: target.name(&addr),
                addr: addr.clone(),
                pid: flags.pid,
            },
            variant: target.name(&addr).map(|_| addr.to_string()),
            transport: Transport::default(),
        });
    }
    check_pid(flags)?;
    match arms.is_empty() {
        true => Err(Failure::usage(
            "nothing to measure: give --model NAME (`tenk list` names them), --server CMD, --target ADDR, or a \
             --scenario that does",
        )),
        false => Ok(arms),
    }
}

/// Every arm over every transport that was asked for.
fn over_all(arms: Vec<Arm>, transports: &[Transport]) -> Result<Vec<Arm>, Failure> {
    let mut all: Vec<Arm> = Vec::new();
    for arm in arms {
        let is_command = arm.subject.model().is_none();
        if transports.is_empty() || (is_command && arm.transport == Transport::Unix) {
            all.push(arm);
            continue;
        }
        for &transport in transports {
            if is_command && transport == Transport::Unix {
                return Err(Failure::usage(format!(
                    "--transport unix: {} listens at a Unix socket if its command names one, as {{socket}}",
                    arm.label
                )));
            }
            let arm = arm.over(transport);
            if !all.contains(&arm) {
                all.push(arm);
            }
        }
    }
    Ok(all)
}

fn check_pid(flags: &RunFlags) -> Result<(), Failure> {
    let Some(pid) = flags.pid else {
        return Ok(());
    };
    if flags.target.is_none() {
        return Err(Failure::usage(
            "--pid is the process of a --target: give that too",
        ));
    }
    if !std::path::Path::new(&format!("/proc/{pid}")).exists() {
        return Err(Failure::usage("--pid: there is no such process"));
    }
    if descends_from(pid) {
        return Err(Failure::usage(format!(
            "--pid {pid}: this program descends from that process, and would be counted as a part of the server; give \
             the process that listens (`ss -ltnp` names it)"
        )));
    }
    Ok(())
}

/// The name, or the name with a number where an arm has it already.
fn unused_label(name: &str, arms: &[Arm]) -> String {
    let taken = |label: &str| arms.iter().any(|arm| arm.label == label);
    let numbered = (2..).map(|n| format!("{name}#{n}"));
    let mut labels = std::iter::once(name.to_string()).chain(numbered);
    labels.find(|label| !taken(label)).unwrap_or_default()
}

fn service_of(flags: &RunFlags) -> Service {
    let spoken = match flags.load.protocol_in_force() {
        ProtocolName::Http => Service::Http,
        ProtocolName::Discard => Service::Discard,
        ProtocolName::Own if flags.load.expect == Some(Rule::Nothing) => Service::Discard,
        ProtocolName::Echo | ProtocolName::Resp | ProtocolName::Own => Service::Echo,
    };
    flags.asked.service.unwrap_or(spoken)
}

fn protocol_of(flags: &RunFlags, service: Service) -> ProtocolName {
    match service {
        // A model can be asked anything: what it answers, --expect says.
        _ if flags.load.protocol_in_force() == ProtocolName::Own => ProtocolName::Own,
        Service::Http => ProtocolName::Http,
        Service::Discard => ProtocolName::Discard,
        Service::Echo if flags.load.protocol == ProtocolName::Resp => ProtocolName::Resp,
        Service::Echo => ProtocolName::Echo,
    }
}

/// Every combination of the lists.
fn scenarios(
    flags: &RunFlags,
    places: &Places,
    service: Service,
    client_cpus: &[usize],
    seed: u64,
) -> Result<Vec<Scenario>, Failure> {
    let mut load_flags = flags.load.clone();
    load_flags.protocol = protocol_of(flags, service);
    let run = LoadRunFlags {
        warmup: flags.warmup,
        duration: flags.duration,
        seed: Some(seed),
        // On other hosts the CPUs are theirs.
        cpus: (places.load_hosts.is_none())
            .then(|| CpuList(client_cpus.iter().map(|&cpu| cpu as u32).collect())),
        allow_target: places.allowed(&flags.allow_target),
        ..LoadRunFlags::default()
    };
    // The port is not known before a server listens; any other than 0 passes the checks.
    let placeholder = flags.target.as_ref().map_or_else(
        || match flags.load.sources.is_ipv4() {
            Some(false) => "[::1]:1".into(),
            _ => "127.0.0.1:1".into(),
        },
        |target| target.addresses()[0].to_string(),
    );
    let mut scenarios = Vec::new();
    for (shape, rate) in shapes(flags) {
        let mut load = Load::new(&placeholder, &shape, &load_flags, &run)
            .map_err(|e| Failure::from_error(Exit::Usage, e))?;
        load.rate_per_s = rate.and_then(Rate::per_s);
        for cost in costs(flags) {
            let scenario = Scenario {
                load: load.clone(),
                cost,
                share: rate.and_then(Rate::share),
                rates_per_s: BTreeMap::new(),
            };
            if !scenarios.contains(&scenario) {
                scenarios.push(scenario);
            }
        }
    }
    Ok(scenarios)
}

fn costs(flags: &RunFlags) -> Vec<HandlerCost> {
    let works = optional(flags.asked.work.iter().copied());
    let costs = works.into_iter().flat_map(|work| {
        let blocks = optional(flags.asked.block.iter().copied());
        blocks
            .into_iter()
            .map(move |block| HandlerCost { work, block })
    });
    costs.collect()
}

/// Stands for a rate that is still to be found, so that the flags are checked as those of an open loop.
const ANY_RATE_PER_S: f64 = 1000.0;

fn shapes(flags: &RunFlags) -> Vec<(ShapeFlags, Option<Rate>)> {
    let optional = |list: &[u64]| optional(list.iter().copied());
    let mut shapes = Vec::new();
    for &conns in &flags.asked.conns {
        for requests_per_conn in optional(&flags.asked.requests_per_conn) {
            for payload in self::optional(flags.asked.payload.iter().copied()) {
                for idle in optional(&flags.asked.idle) {
                    for rate in self::optional(flags.rate.iter().copied()) {
                        let shape = ShapeFlags {
                            conns,
                            rate: rate.map(|rate| rate.per_s().unwrap_or(ANY_RATE_PER_S)),
                            idle: idle.unwrap_or(0),
                            payload,
                            requests_per_conn,
                        };
                        shapes.push((shape, rate));
                    }
                }
            }
        }
    }
    shapes
}

/// The list's items, or one `None` when the flag was not given.
fn optional<T>(list: impl Iterator<Item = T>) -> Vec<Option<T>> {
    let mut items: Vec<Option<T>> = list.map(Some).collect();
    if items.is_empty() {
        items.push(None);
    }
    items
}

/// A CPU named twice would count as two.
fn each_once(flag: &str, cpus: Vec<usize>) -> Result<Vec<usize>, Failure> {
    let twice = cpus
        .iter()
        .enumerate()
        .find(|(at, cpu)| cpus[..*at].contains(cpu));
    match twice {
        Some((_, cpu)) => Err(Failure::usage(format!(
            "--{flag}: CPU {cpu} is named twice"
        ))),
        None => Ok(cpus),
    }
}

/// The CPUs this process may use, halved: the first half serves, the rest generates load.
fn split_cpus(flags: &RunFlags) -> Result<(Vec<usize>, Vec<usize>), Failure> {
    let available = available_cpus()?;
    let half = (available.len() / 2).max(1);
    let first = available[..half.min(available.len())].to_vec();
    let rest = match available.len() {
        0 | 1 => first.clone(),
        _ => available[half..].to_vec(),
    };
    let chosen = |list: &Option<CpuList>, flag: &str, default: Vec<usize>| match list {
        None => Ok(default),
        Some(list) => {
            let cpus: Vec<usize> = list.0.iter().map(|&cpu| cpu as usize).collect();
            match cpus.iter().find(|cpu| !available.contains(cpu)) {
                Some(cpu) => Err(Failure::usage(format!(
                    "--{flag} {cpu}: this process may use CPUs {}",
                    cpu_list(&available)
                ))),
                None => each_once(flag, cpus),
            }
        }
    };
    // On another host they are that host's, and without a generator here the server has them all.
    let (asked, first) = match (&flags.elsewhere.server_host, &flags.hosts.load_hosts) {
        (Some(_), _) => (&None, first),
        (None, Some(_)) => (&flags.place.server_cpus, available.clone()),
        (None, None) => (&flags.place.server_cpus, first),
    };
    Ok((
        chosen(asked, "server-cpus", first)?,
        chosen(&flags.place.client_cpus, "client-cpus", rest)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;
    use servers::models::MODELS;

    fn plan(words: &str) -> Result<Plan, Failure> {
        let words = format!("tenk {words}");
        Plan::new(&Cli::try_parse_from(words.split(' ')).unwrap().run)
    }

    #[test]
    fn sources_are_of_the_family_of_every_server() {
        for words in [
            "--model epoll --transport tcp6 --sources fd00::/126",
            "--model epoll --sources 127.0.1.0/24",
            "--target [::1]:9 --sources ::1",
        ] {
            assert!(plan(words).is_ok(), "{words}");
        }
        for (words, place) in [
            ("--model epoll --sources fd00::/126", "127.0.0.1"),
            (
                "--model epoll --transport tcp,tcp6 --sources ::1",
                "127.0.0.1",
            ),
            (
                "--model epoll --transport tcp,tcp6 --sources 127.0.1.1",
                "::1",
            ),
            (
                "--model epoll --transport unix --sources ::1",
                "a Unix socket",
            ),
        ] {
            let refused = plan(words).unwrap_err().message;
            let expected = format!("listens at {place}, which nobody reaches");
            assert!(refused.contains(&expected), "{words}: {refused}");
        }
        assert!(plan("--target 127.0.0.1:9 --sources ::1").is_err());
    }

    #[test]
    fn a_private_network_has_ports_for_all_that_come_over_ipv6() {
        let addresses = |words: &str| match plan(words).unwrap().network {
            Network::Private { ipv6_addresses, .. } => ipv6_addresses.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(addresses("--model epoll --conns 200k"), 0);
        assert_eq!(addresses("--model epoll --conns 50 --transport tcp6"), 0);
        // At most 64 512 ports each, of which a quarter is given out.
        assert!(addresses("--model epoll --conns 200k --transport tcp,tcp6") >= 12);
        assert!(addresses("--model epoll --requests-per-conn 1 --transport tcp6") > 100);
        assert_eq!(
            addresses("--model epoll --transport tcp6 --sources fd00::4/126"),
            4
        );
        assert_eq!(
            addresses("--model epoll --transport tcp6 --sources ::1,fd00::9"),
            1
        );
        assert!(plan("--model epoll --transport tcp6 --sources fd00::/64").is_err());
    }

    #[test]
    fn a_block_holds_every_arm_once_under_one_load() {
        let plan = plan("--model epoll,poll,select --conns 10,20 --repeat 4 --seed 7").unwrap();
        let trials = plan.trials();
        assert_eq!(trials.len(), 24);
        for block in trials.chunks(3) {
            assert!(block.iter().all(|t| t.block == block[0].block));
            assert!(block.iter().all(|t| t.load.conns == block[0].load.conns));
            let mut arms: Vec<&str> = block.iter().map(|t| t.arm.label.as_str()).collect();
            arms.sort_unstable();
            assert_eq!(arms, ["epoll", "poll", "select"]);
        }
        let conns: Vec<u64> = trials.iter().step_by(3).map(|t| t.load.conns).collect();
        assert_eq!(conns, [10, 20, 10, 20, 10, 20, 10, 20]);
    }

    #[test]
    fn a_seed_repeats_the_order_and_another_changes_it() {
        let order = |seed: u64| {
            let plan = plan(&format!(
                "--model epoll,poll,select --repeat 8 --seed {seed}"
            ))
            .unwrap();
            let trials = plan.trials().into_iter();
            trials
                .map(|t| (t.arm.label, t.load.seed))
                .collect::<Vec<_>>()
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }

    #[test]
    fn levels_of_load_come_in_random_order_and_each_arm_has_its_own_rates() {
        let mut plan =
            plan("--model epoll,poll --rate 10%,50%,90% --arrival poisson --repeat 6 --seed 3")
                .unwrap();
        assert!(plan.needs_capacities() && plan.scenarios.len() == 3);
        for (scenario, share) in plan.scenarios.iter_mut().zip([0.1, 0.5, 0.9]) {
            scenario.rates_per_s = [("epoll".to_string(), share * 1000.0)].into();
        }
        let trials = plan.trials();
        assert!(
            trials.iter().all(|t| t.arm.label == "epoll"),
            "poll has no capacity"
        );
        let shares: Vec<f64> = trials.iter().filter_map(|t| t.capacity_fraction).collect();
        assert_eq!(shares.len(), 18);
        for (trial, share) in trials.iter().zip(&shares) {
            assert_eq!(trial.load.rate_per_s, Some(share * 1000.0));
        }
        for repetition in shares.chunks(3) {
            assert!(
                (repetition.iter().sum::<f64>() - 1.5).abs() < 1e-9,
                "each level once"
            );
        }
        assert!(
            shares.chunks(3).any(|levels| levels != &shares[..3]),
            "{shares:?}"
        );
        assert!(self::plan("--model epoll --rate 10%,5k").is_err());
        assert!(self::plan("--model epoll --slo response_p99_ns<5ms").is_err());
        assert!(self::plan("--model epoll --rate auto --arrival poisson").is_ok());
    }

    #[test]
    fn aliases_and_doubles_are_one_arm() {
        let plan = plan("--model fork,process,epoll-lt").unwrap();
        let names: Vec<&str> = plan.arms.iter().map(|a| a.label.as_str()).collect();
        assert_eq!(names, ["process", "epoll"]);
        let all = self::plan("--model all").unwrap();
        assert_eq!(all.arms.len(), MODELS.len());
    }

    #[test]
    fn other_servers_stand_beside_models() {
        let mut flags =
            Cli::try_parse_from(["tenk", "--model", "epoll", "--target", "127.0.0.1:6379"]);
        let flags = &mut flags.as_mut().unwrap().run;
        flags.server = vec!["/usr/bin/nc -l {addr}".into(), "nc {host} {port}".into()];
        let plan = Plan::new(flags).unwrap();
        let labels: Vec<&str> = plan.arms.iter().map(|a| a.label.as_str()).collect();
        assert_eq!(labels, ["epoll", "nc", "nc#2", "127.0.0.1:6379"]);
        assert!(matches!(plan.command_network, Network::Host));
        flags.server = vec!["/bin/\u{1b}[31mred\n{port}".into()];
        let arm = Plan::new(flags).unwrap().arms[1].clone();
        assert!(!arm.label.contains('\u{1b}') && arm.label.contains("[31mred"));
        assert_eq!(arm.variant.unwrap(), "/bin/\\u{1b}[31mred\\u{a}{port}");
        flags.target = Some("192.0.2.1:80".parse().unwrap());
        assert!(
            Plan::new(flags)
                .unwrap_err()
                .message
                .contains("--allow-target")
        );
    }

    #[test]
    fn an_unknown_model_is_answered_with_a_suggestion() {
        let failure = plan("--model epol").unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(
            failure.message.contains("did you mean 'epoll'"),
            "{failure}"
        );
        assert!(plan("--model ,").is_err());
        assert!(plan("--model epoll:nonsense=1").is_err());
    }

    #[test]
    fn senseless_numbers_are_usage_errors() {
        for words in [
            "--conns 0",
            "--duration 0",
            "--repeat 0",
            "--server-cpus 4000",
            "--workers 0",
            "--workers 1025",
            "--service http --protocol discard",
            "--target 127.0.0.1:1 --pid 4194305",
            "--target 127.0.0.1:1 --work 50us",
            "--server {port} --block 1ms",
            "--server x",
            "--server-cpus 0,0",
            "--workers 5",
            "--name x",
            "--target 127.0.0.1:1 --pid 1",
        ] {
            assert_eq!(
                plan(&format!("--model epoll {words}")).unwrap_err().exit,
                Exit::Usage,
                "{words}"
            );
        }
        assert!(plan("--model all --conns 1,2,3 --repeat 99999999").is_err());
        let twice = plan("--model epoll --conns 5,50,5 --work 1us,1us").unwrap();
        assert_eq!(twice.scenarios.len(), 2);
    }

    #[test]
    fn the_service_sets_the_protocol() {
        let plan = plan("--model epoll --service discard").unwrap();
        assert_eq!(plan.scenarios[0].load.protocol, ProtocolName::Discard);
        let resp = self::plan("--target 127.0.0.1:6379 --protocol resp").unwrap();
        assert_eq!(resp.scenarios[0].load.protocol, ProtocolName::Resp);
        assert_eq!(
            self::plan("--model epoll --protocol resp")
                .unwrap_err()
                .exit,
            Exit::Usage
        );
    }
}
