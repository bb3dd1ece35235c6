//! Reasons not to believe the figures: the generator's own, and those that need both sides.

use super::figures::USED_UP;
use crate::model::disturbance::Limits;
use crate::model::row::{Bottleneck, Reason, Row};
use crate::trial::evidence::{Evidence, Window};
use crate::trial::owner::Owner;
use loadgen::base::syn::listen_queue_in_words;
use loadgen::base::units::format_bytes;
use loadgen::tally::code::Code;
use loadgen::tally::outcome::Outcome;
use loadgen::tally::verdict::saturated_hosts;

/// W01: the generator's useful share above which it is the bottleneck.
const GENERATOR_USED_UP: f64 = 0.95;

/// Reasons not to believe the figures.
pub fn doubts(row: &Row, evidence: &Evidence, limits: Limits) -> Vec<Reason> {
    let Some(outcome) = &evidence.outcome else {
        return Vec::new();
    };
    let ours = [
        generator_bound(row, outcome),
        disturbed(row, evidence, limits),
        listen_queue(row, evidence, outcome),
        ledgers(row, evidence, outcome),
        other_server(evidence, outcome).or_else(|| other_owner(evidence)),
    ];
    let mut reasons = outcome.reasons.clone();
    for reason in ours.into_iter().flatten() {
        // Of two reasons with one code ours saw both sides.
        reasons.retain(|other| other.code != reason.code);
        reasons.push(reason);
    }
    reasons.sort_by(|a, b| a.code.cmp(&b.code));
    reasons
}

/// What /proc/stat can tell from nothing, s.
const THREE_TICKS_S: f64 = 0.03;

/// Something else used the CPUs: the hypervisor's other guests, other processes here, or this program itself.
fn disturbed(row: &Row, evidence: &Evidence, limits: Limits) -> Option<Reason> {
    let window = evidence.window.as_ref()?;
    let cpus = window.machine.map_or(1.0, |machine| machine.cpus);
    let steal = row.steal_fraction.unwrap_or(0.0);
    // A share of the whole machine, and wanted as one of a single CPU.
    let foreign = row.foreign_cpu_fraction.unwrap_or(0.0) * cpus;
    let own = window.harness_s / window.between_s.max(f64::MIN_POSITIVE);
    // /proc/stat counts in ticks of 10 ms, of which a short window holds few.
    let is_seen = |cpus: f64| cpus * row.duration_s > THREE_TICKS_S;
    let stolen = (steal > limits.steal && is_seen(steal * cpus)).then(|| {
        let percent = steal * 100.0;
        format!("the hypervisor withheld {percent:.1} % of the CPU time")
    });
    let used = (foreign > limits.foreign_cpus && is_seen(foreign)).then(|| {
        let percent = foreign * 100.0;
        format!("something else used {percent:.0} % of a CPU (a build, a browser, another run?)")
    });
    let own = (own > limits.foreign_cpus && is_seen(own)).then(|| own_use(own, window));
    let throttled = throttled(window, limits);
    let said: Vec<String> = [stolen, throttled, used, own]
        .into_iter()
        .flatten()
        .collect();
    (!said.is_empty()).then(|| Reason::new(Code::W07, said.join("; ")))
}

/// A quota stops everybody in its group until the next period: what is late then is so by its length.
fn throttled(window: &Window, limits: Limits) -> Option<String> {
    let throttled = window.throttled.as_ref()?;
    let share = throttled.total_s / window.between_s.max(f64::MIN_POSITIVE);
    (share > limits.steal).then(|| {
        format!(
            "{} was used up in {} of its periods and withheld {:.2} s of CPU time (raise it, or give fewer CPUs with \
             --server-cpus and --client-cpus)",
            throttled.what, throttled.periods, throttled.total_s
        )
    })
}

/// The harness has next to nothing to do in a window but to read what the server prints.
fn own_use(cpus: f64, window: &Window) -> String {
    let percent = cpus * 100.0;
    match window.printed_bytes {
        0 => format!("the harness itself used {percent:.0} % of a CPU"),
        bytes => format!(
            "the harness itself used {percent:.0} % of a CPU, to read the {} that the server printed in the window: \
             let it print less, or to a file",
            format_bytes(bytes as f64)
        ),
    }
}

fn generator_bound(row: &Row, outcome: &Outcome) -> Option<Reason> {
    let generator = outcome.generator.cpu_utilisation;
    let server_is_not = matches!(
        row.bottleneck,
        Some(Bottleneck::Generator | Bottleneck::Neither)
    );
    // Of several hosts one is enough, and whether the server was busy need not be known to say which.
    let hosts = saturated_hosts(outcome).filter(|_| !outcome.load.is_open_loop());
    let used_up = USED_UP * 100.0;
    let of_hosts = match (hosts, row.bottleneck) {
        (Some(hosts), None) => Some(format!(
            "{hosts}: unless the server was saturated too, throughput is a lower bound"
        )),
        (Some(hosts), _) if server_is_not => Some(format!(
            "{hosts}, and the server less than {used_up:.0} % of its own: throughput is a lower bound"
        )),
        _ => None,
    };
    if let Some(text) = of_hosts {
        return Some(Reason::new(Code::W01, text));
    }
    let bound = !outcome.load.is_open_loop() && generator >= GENERATOR_USED_UP && server_is_not;
    bound.then(|| {
        Reason::new(Code::W01,
            format!(
                "the generator used {:.0} % of its CPUs and the server less than {:.0} %: throughput is a lower bound",
                generator * 100.0,
                used_up
            ),
        )
    })
}

fn listen_queue(row: &Row, evidence: &Evidence, outcome: &Outcome) -> Option<Reason> {
    let overflows = row.listen_overflows.unwrap_or(0);
    // The generator asks its connections; one that was never established cannot be asked, but the kernel counts. In the
    // host's network it counts everybody's.
    let counted = evidence.net.filter(|_| evidence.launched.private_network);
    let counted = counted.map_or(0, |net| net.syn_retransmits);
    let again = outcome.connections.syn_retries.unwrap_or(0).max(counted);
    (overflows + again > 0).then(|| {
        Reason::new(
            Code::W08,
            format!(
                "the listen queue overflowed: {overflows} overflows, {again} SYNs sent again; {}",
                listen_queue_in_words(&outcome.connections.syn_sent_again_after_s)
            ),
        )
    })
}

/// Both ledgers: every connection that was established was accepted or still waits, and every byte arrived.
fn ledgers(row: &Row, evidence: &Evidence, outcome: &Outcome) -> Option<Reason> {
    let tally = evidence.ledger.filter(|_| evidence.answers_afterwards)?;
    let established = outcome.connections.established + evidence.probes;
    let accounted = tally.accepted + evidence.queued;
    // A final ACK dropped at a full queue leaves a connection that only the client knows of.
    let overflows = row.listen_overflows.unwrap_or(0);
    if accounted < established && established - accounted > overflows {
        return Some(Reason::new(
            Code::W09,
            format!("{established} connections were established, the server knows of {accounted}"),
        ));
    }
    // What a lost host has sent nobody has told.
    let is_whole = outcome.hosts.iter().all(|host| host.lost.is_none());
    let settled =
        row.errors == Some(0) && row.conns_reset == Some(0) && tally.shed == 0 && is_whole;
    let echoes = matches!(row.protocol.as_str(), "echo" | "discard");
    if !settled || !echoes || !outcome.complete {
        return None;
    }
    let sent = outcome.whole_run.bytes_sent + evidence.probe_bytes;
    let unread = sent.checked_sub(tally.bytes_in);
    let is_explained = unread.is_some_and(|unread| unread <= sent_in_vain(outcome));
    (!is_explained).then(|| {
        Reason::new(
            Code::W09,
            format!(
                "{sent} bytes were sent, the server received {}",
                tally.bytes_in
            ),
        )
    })
}

/// Bytes that a server may have left unread although nothing failed: what was sent again had been sent before on a
/// connection that the server closed, whose last request may have been written in part.
fn sent_in_vain(outcome: &Outcome) -> u64 {
    let again = match outcome.whole_run.resent {
        0 => 0,
        resent => resent + outcome.connections.closed_by_peer,
    };
    let largest = outcome
        .load
        .payload
        .map_or(0, |payload| u64::from(payload.max));
    again.saturating_mul(largest)
}

fn other_server(evidence: &Evidence, outcome: &Outcome) -> Option<Reason> {
    let tally = evidence.ledger.filter(|_| evidence.answers_afterwards)?;
    let served = outcome.connections.served + evidence.probes;
    (tally.accepted < served).then(|| {
        Reason::new(
            Code::W10,
            format!(
                "{served} connections were served and ours accepted {}: another server answered",
                tally.accepted
            ),
        )
    })
}

/// The socket that answers is not one of the processes that are measured.
fn other_owner(evidence: &Evidence) -> Option<Reason> {
    let who = match &evidence.owner {
        Owner::Family | Owner::NotAsked => return None,
        owner => in_words(owner),
    };
    let addr = evidence.addr.as_ref();
    let addr = addr.map_or(String::new(), ToString::to_string);
    let left = match &evidence.left_behind {
        None => String::new(),
        Some(Owner::Other(pid, _)) => format!("; it still listens there: `kill {pid}` ends it"),
        Some(_) => "; something still listens there: end it where it was started".into(),
    };
    Some(Reason::new(
        Code::W10,
        format!(
            "what listens on {addr} is {who}, none of the processes that are measured: the server's CPU time and \
             memory are unknown (start the server itself, in the foreground; --target ADDR --pid PID measures one that \
             runs){left}"
        ),
    ))
}

fn in_words(owner: &Owner) -> String {
    match owner {
        Owner::Other(pid, name) => format!("process {pid} ({name})"),
        _ => "a process that cannot be seen from here (another user's, or in a container)".into(),
    }
}

/// Whether the reason makes the figures of this trial nothing. That another program's socket answers leaves what the
/// generator measured as it is.
pub fn is_about_figures(reason: &Reason, evidence: &Evidence) -> bool {
    !reason.is(Code::W10) || matches!(evidence.owner, Owner::Family | Owner::NotAsked)
}
