//! From what was seen in a trial to its row: what the server did, and whether the figures are to be believed.
//! Pure: everything here is computed from [`Evidence`] alone.

mod doubts;
mod figures;
mod status;

use crate::base::text::visible;
use crate::model::row::{Reason, Reasons, Row, Verdict};
use crate::plan::{Plan, TrialPlan};
use crate::trial::Evidence;
use loadgen::base::units::as_ns;
use loadgen::load::labels::in_one_cell;
use loadgen::tally::verdict::of_reasons;
use std::collections::BTreeMap;

pub use figures::received;

/// Makes the row of a trial.
pub fn judge(run_id: &str, plan: &Plan, trial: &TrialPlan, evidence: &Evidence) -> Row {
    let mut row = settings(run_id, plan, trial);
    if let Some(outcome) = &evidence.outcome {
        figures::of_generator(&mut row, outcome);
    }
    figures::of_server(&mut row, plan, evidence);
    let (status, why) = status::status(trial, evidence);
    row.status = status;
    let doubts = doubts::doubts(&row, evidence, plan.disturbed);
    row.verdict = verdict(&doubts, evidence);
    let failures = evidence.outcome.as_ref().and_then(status::what_failed);
    let failures = failures.filter(|_| row.errors.is_some_and(|n| n > 0));
    let notes = [why, failures, unknown_cpu(evidence)];
    let notes = notes.into_iter().flatten().map(Reason::of_status);
    row.reasons = Reasons(notes.chain(doubts).collect());
    unrank_latency(&mut row, trial, evidence);
    row
}

fn verdict(doubts: &[Reason], evidence: &Evidence) -> Verdict {
    if evidence.outcome.is_none() {
        return Verdict::Invalid;
    }
    let about = |reason: &&Reason| doubts::is_about_figures(reason, evidence);
    let about: Vec<Reason> = doubts.iter().filter(about).cloned().collect();
    let least = match doubts.is_empty() {
        true => Verdict::Valid,
        false => Verdict::Suspect,
    };
    of_reasons(&about).max(least)
}

/// Why there is no figure of the server's CPU time, where its processes are known.
fn unknown_cpu(evidence: &Evidence) -> Option<String> {
    let window = evidence.window.as_ref()?;
    let why = window.server_cpu.as_ref().err()?;
    let is_known = window.processes > 0 && evidence.is_of_the_server();
    is_known.then(|| {
        format!("no CPU time of the server: {why}; as root, or in a delegated control group, it is counted")
    })
}

fn settings(run_id: &str, plan: &Plan, trial: &TrialPlan) -> Row {
    let load = &trial.load;
    let arm = &trial.arm;
    Row {
        run_id: run_id.into(),
        block: trial.block,
        trial: trial.trial,
        seed: load.seed,
        arm: arm.label.clone(),
        model: arm.subject.kind().into(),
        variant: arm.variant.clone(),
        labels: Some(in_one_cell(&load.labels)).filter(|cell| !cell.is_empty()),
        service: plan.service.name().into(),
        protocol: serialised(&load.protocol),
        conns: load.conns,
        idle: load.idle,
        payload_bytes: load.payload.map_or(0, |p| u64::from(p.max)),
        requests: load.requests_in_words().map(|words| visible(&words)),
        requests_per_conn: load.requests_per_conn,
        rate_per_s: load.rate_per_s,
        stages: load.stages.as_ref().map(ToString::to_string),
        conn_stages: load.conn_stages.as_ref().map(ToString::to_string),
        capacity_fraction: trial.capacity_fraction,
        arrival: match load.is_open_loop() {
            true => serialised(&load.arrival),
            false => "closed".into(),
        },
        think_ns: load.think_ns,
        pipeline: load.pipeline,
        work_ns: trial.cost.work.map(as_ns),
        block_ns: trial.cost.block.map(as_ns),
        workers: plan.workers.filter(|_| arm.subject.takes("workers")),
        server_cpus: plan.server_cpus_in_words(),
        client_cpus: plan.client_cpus_in_words(),
        duration_s: load.duration_ns as f64 / 1e9,
        ..Row::blank()
    }
}

/// A unit variant as its serialised word.
fn serialised(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn total(counts: &BTreeMap<String, u64>) -> u64 {
    counts.values().sum()
}

/// In a closed loop with starved connections only the latency of those that were served is known, so none is shown.
fn unrank_latency(row: &mut Row, trial: &TrialPlan, evidence: &Evidence) {
    let starved = evidence.outcome.as_ref().is_some_and(|o| {
        status::starved(o) > 0 || o.connections.served_at_barrier < o.connections.requested
    });
    if !trial.load.is_open_loop() && starved {
        clear_latency(row);
    }
}

fn clear_latency(row: &mut Row) {
    for latency in [
        &mut row.response_p50_ns,
        &mut row.response_p90_ns,
        &mut row.response_p99_ns,
        &mut row.response_p999_ns,
        &mut row.response_max_ns,
        &mut row.service_p50_ns,
        &mut row.service_p99_ns,
    ] {
        *latency = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::{Limit, Throttled};
    use crate::cli::Cli;
    use crate::model::disturbance::Limits;
    use crate::model::row::{Bottleneck, Status};
    use crate::trial::evidence::Window;
    use crate::trial::machine::MachineTime;
    use crate::trial::out_of_memory::OutOfMemory;
    use crate::trial::owner::Owner;
    use crate::trial::procfs::CpuTime;
    use crate::trial::server::StartError;
    use clap::Parser;
    use loadgen::base::machine::MachineFacts;
    use loadgen::load::Load;
    use loadgen::tally::abort::Aborted;
    use loadgen::tally::code::Code;
    use loadgen::tally::outcome::{
        Connections, Failure, Fairness, Generator, HostFigures, Latencies, Outcome, Quantiles,
        Requests, WholeRun,
    };
    use servers::ledger::{Shortage, Tally};

    fn plan(words: &str) -> Plan {
        let words = format!("tenk --server-cpus 0 --client-cpus 0 {words}");
        Plan::new(&Cli::try_parse_from(words.split(' ')).unwrap().run).unwrap()
    }

    /// 100 connections, 100 000 requests/s for 2 s at 1 ms: a trial with nothing wrong.
    fn sound_outcome(load: &Load) -> Outcome {
        let latency = Quantiles {
            count: 200_000,
            p50: Some(900_000),
            mean: Some(1_000_000),
            max: Some(2_000_000),
            ..Quantiles::default()
        };
        Outcome {
            complete: true,
            window_start_unix_ns: Some(0),
            window_s: 2.0,
            ramp_s: 0.1,
            connections: Connections {
                requested: 100,
                served_at_barrier: 100,
                attempts: 100,
                established: 100,
                served: 100,
                closed_by_us: 100,
                ..Connections::default()
            },
            requests: Requests {
                offered: 200_000,
                sent: 200_000,
                completed: 200_000,
                per_s: 100_000.0,
                ..Requests::default()
            },
            whole_run: WholeRun {
                sent: 300_000,
                completed: 300_000,
                bytes_sent: 300_000 * 64,
                bytes_received: 300_000 * 64,
                resent: 0,
            },
            latency_ns: Latencies {
                response: latency.clone(),
                service: latency,
                ..Latencies::default()
            },
            generator: Generator {
                cpu_utilisation: 0.7,
                ..Generator::default()
            },
            fairness: Fairness {
                jain: Some(1.0),
                connections: 100,
                sum: 200_000,
                ..Fairness::default()
            },
            ..Outcome::of_nothing(load.clone())
        }
    }

    fn sound(load: &Load) -> Evidence {
        let outcome = sound_outcome(load);
        let (probes, probe_bytes) = (2, 90);
        let bytes_in = 300_000 * 64 + probe_bytes;
        Evidence {
            answers_afterwards: true,
            probes,
            probe_bytes,
            outcome: Some(outcome),
            window: Some(Window {
                server_cpu: Ok(CpuTime {
                    total_s: 2.02,
                    user_s: 0.5,
                    system_s: 1.52,
                }),
                between_s: 2.02,
                memory_kib: 100,
                processes: 1,
                ctx_switches: Some(400_000),
                ..Window::default()
            }),
            net: Some(Default::default()),
            ledger: Some(Tally {
                accepted: 102,
                closed: 102,
                bytes_in,
                ..Tally::default()
            }),
            ..Evidence::default()
        }
    }

    fn judged(words: &str, change: impl FnOnce(&mut Evidence)) -> Row {
        judged_within(Limits::default(), words, change)
    }

    fn judged_within(limits: Limits, words: &str, change: impl FnOnce(&mut Evidence)) -> Row {
        let mut plan = plan(&format!("--conns 100 {words}"));
        plan.disturbed = limits;
        let trial = &plan.trials()[0];
        let mut evidence = sound(&trial.load);
        change(&mut evidence);
        if let Some(outcome) = &mut evidence.outcome {
            let own = loadgen::tally::verdict::judge(outcome, true);
            outcome.reasons.extend(own);
        }
        judge("run", &plan, trial, &evidence)
    }

    fn outcome(evidence: &mut Evidence) -> &mut Outcome {
        evidence.outcome.as_mut().unwrap()
    }

    fn codes(row: &Row) -> Vec<&str> {
        row.reasons.0.iter().map(|r| r.code.as_str()).collect()
    }

    /// A column of response or service times that is added later is cleared as well.
    #[test]
    fn every_column_of_latency_is_cleared() {
        let is_latency = |name: &str| {
            (name.starts_with("response_") || name.starts_with("service_")) && name.ends_with("_ns")
        };
        let mut columns = serde_json::to_value(Row::blank()).unwrap();
        let cells = columns.as_object_mut().unwrap();
        let latencies = cells.iter_mut().filter(|(name, _)| is_latency(name));
        let set = latencies.map(|(_, cell)| *cell = 7.into()).count();
        assert!(set >= 7, "{set} columns");
        let mut row: Row = serde_json::from_value(columns).unwrap();
        assert_eq!(row.response_p50_ns, Some(7));
        clear_latency(&mut row);
        let cleared = serde_json::to_value(row).unwrap();
        for (name, cell) in cleared.as_object().unwrap() {
            assert!(!is_latency(name) || cell.is_null(), "{name}: {cell}");
        }
    }

    #[test]
    fn a_sound_trial_is_ok_and_valid() {
        let row = judged("--model epoll", |_| {});
        assert_eq!(
            (row.status, row.verdict),
            (Status::Ok, Verdict::Valid),
            "{row:?}"
        );
        assert_eq!((row.errors, row.conns_served), (Some(0), Some(100)));
        // 2.02 s in 2.02 s: the window's 2 s, over 200 000 requests.
        assert!((row.server_cpu_us_per_request.unwrap() - 10.0).abs() < 1e-9);
        assert_eq!(row.ctx_switches_per_request, Some(2.0));
        assert_eq!(row.server_memory_per_conn_bytes, Some(1024.0));
        assert_eq!(row.bottleneck, Some(Bottleneck::Server));
    }

    #[test]
    fn statuses_follow_what_the_server_did() {
        let status = |change: fn(&mut Evidence)| judged("--model select", change).status;
        assert_eq!(
            status(|e| e.start_error = Some(StartError::Unavailable("no".into()))),
            Status::Skipped
        );
        assert_eq!(
            status(|e| e.start_error = Some(StartError::Silent("no".into()))),
            Status::Hung
        );
        assert_eq!(
            status(|e| e.server_ended = Some("signal 9".into())),
            Status::Crashed
        );
        assert_eq!(
            status(|e| outcome(e).requests.mismatched = 1),
            Status::Wrong
        );
        assert_eq!(
            status(|e| outcome(e).connections.unasked = 1),
            Status::Wrong
        );
        assert_eq!(
            status(|e| {
                outcome(e).requests.failed.insert("PROTOCOL".into(), 1);
            }),
            Status::Wrong
        );
        assert_eq!(status(|e| e.answers_afterwards = false), Status::Hung);
        assert_eq!(
            status(|e| outcome(e).fairness.starved_connections = 3),
            Status::Starved
        );
        assert_eq!(
            status(|e| outcome(e).connections.served_at_barrier = 9),
            Status::Starved
        );
    }

    #[test]
    fn what_failed_is_named_where_nothing_else_explains_it() {
        let row = judged("--model epoll", |e| {
            let outcome = outcome(e);
            outcome.requests.failed.insert("EOF".into(), 7);
            outcome.failures.push(Failure {
                stage: "request".into(),
                phase: "window".into(),
                kind: "EOF".into(),
                count: 7,
                first: "connection 3, request 1: closed by the server".into(),
            });
        });
        assert_eq!((row.status, row.errors), (Status::Ok, Some(7)));
        let text = &row.reasons.0[0].text;
        assert_eq!(text, "what failed: 7 × request EOF (closed by the server)");
        let unasked = judged("--model epoll", |e| outcome(e).connections.unasked = 4);
        assert_eq!(unasked.errors, Some(4));
        let lost = judged("--model epoll", |e| outcome(e).connections.idle_lost = 20);
        assert_eq!(lost.errors, Some(20));
    }

    #[test]
    fn connections_that_were_told_no_are_not_starved_and_the_no_is_named() {
        let row = judged("--target 127.0.0.1:1", |e| {
            let outcome = outcome(e);
            outcome.connections.served_at_barrier = 99;
            outcome.requests.failed.insert("STATUS".into(), 215);
            outcome.failures.push(Failure {
                stage: "request".into(),
                phase: "window".into(),
                kind: "STATUS".into(),
                count: 215,
                first: "connection 1, request 1: the server answered \"HTTP/1.1 503 No\"".into(),
            });
        });
        assert_eq!(row.status, Status::Ok, "{row:?}");
        let text = String::from(row.reasons);
        assert!(
            text.contains("215 × request STATUS") && text.contains("503"),
            "{text}"
        );
    }

    #[test]
    fn a_wall_is_named_with_its_place() {
        let row = judged("--model select", |e| {
            outcome(e).connections.served_at_barrier = 60;
            e.ledger.as_mut().unwrap().shed = 40;
        });
        assert_eq!(row.status, Status::Limited);
        assert_eq!(row.reasons.0[0].text, "FD_SETSIZE at 60 of 100");
        assert_eq!((row.errors, row.response_p50_ns), (Some(40), None));
    }

    #[test]
    fn a_shortage_is_called_by_the_errno_that_the_server_was_told() {
        let limited_by = |shortage: Shortage, shed: u64| {
            let row = judged("--model process", |e| {
                outcome(e).connections.served_at_barrier = 60;
                let tally = e.ledger.as_mut().unwrap();
                tally.shed = shed;
                tally.accept_errors = 3;
                tally.by_shortage[shortage as usize] = 3;
            });
            assert_eq!(row.status, Status::Limited);
            row.reasons.0[0].text.clone()
        };
        let text = limited_by(Shortage::Emfile, 0);
        assert_eq!(text, "RLIMIT_NOFILE of the server (EMFILE) at 60 of 100");
        for (shortage, shed) in [
            (Shortage::Enfile, 0),
            (Shortage::Enomem, 3),
            (Shortage::Eagain, 3),
        ] {
            let text = limited_by(shortage, shed);
            assert!(text.contains(&shortage.to_string()), "{text}");
            assert!(!text.contains("RLIMIT_NOFILE"), "{text}");
        }
    }

    #[test]
    fn our_own_shortage_is_not_the_servers_fault() {
        let row = judged("--model epoll", |e| {
            let c = &mut outcome(e).connections;
            c.served_at_barrier = 60;
            c.local_failures.insert("EMFILE".into(), 40);
        });
        assert_eq!((row.status, row.verdict), (Status::Ok, Verdict::Invalid));
        assert_eq!(codes(&row), ["W05"]);
    }

    #[test]
    fn a_trial_that_a_condition_ended_is_not_believed_and_says_which() {
        assert_eq!(judged("--model epoll", |_| {}).aborted, None);
        let row = judged("--model epoll", |e| {
            let outcome = outcome(e);
            outcome.complete = false;
            outcome.aborted = Some(Aborted {
                condition: "errors>1% over 5s".into(),
                second: 4,
                found: "errors were 2 of 100 that ended, 2.00 %".into(),
            });
        });
        assert_eq!((row.status, row.verdict), (Status::Ok, Verdict::Invalid));
        assert_eq!(row.aborted.as_deref(), Some("errors>1% over 5s"));
        let text = String::from(row.reasons);
        let expected = "W02 the run was ended early, as --abort-on asks: `errors>1% over 5s` was met after 5 s: errors were 2";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn each_doubt_has_its_code() {
        let row = judged("--model epoll", |e| {
            outcome(e).generator.cpu_utilisation = 0.99;
            e.window.as_mut().unwrap().server_cpu = Ok(CpuTime {
                total_s: 1.0,
                ..CpuTime::default()
            });
        });
        assert_eq!((codes(&row), row.verdict), (vec!["W01"], Verdict::Suspect));
        assert_eq!(row.bottleneck, Some(Bottleneck::Generator));
        let row = judged("--model epoll", |e| {
            outcome(e).latency_ns.service.mean = Some(800_000)
        });
        assert_eq!((codes(&row), row.verdict), (vec!["W04"], Verdict::Invalid));
        let row = judged("--model epoll", |e| {
            e.net.as_mut().unwrap().listen_overflows = 5
        });
        assert_eq!((codes(&row), row.verdict), (vec!["W08"], Verdict::Suspect));
        let row = judged("--model epoll", |e| {
            e.ledger.as_mut().unwrap().bytes_in += 1
        });
        assert_eq!((codes(&row), row.verdict), (vec!["W09"], Verdict::Invalid));
        let row = judged("--model epoll", |e| {
            e.ledger.as_mut().unwrap().accepted = 50
        });
        assert_eq!(
            (codes(&row), row.verdict),
            (vec!["W09", "W10"], Verdict::Invalid)
        );
    }

    /// Of the machine that was measured, whichever this test runs on.
    const CPUS: f64 = 7.0;

    /// A window of ten seconds on that machine, which was so busy beside the server and the harness.
    fn ten_seconds(e: &mut Evidence, beside: MachineTime) {
        let window = e.window.as_mut().unwrap();
        window.between_s = 10.0;
        let own_s = window.server_cpu.as_ref().unwrap().total_s + window.harness_s;
        window.machine = Some(MachineTime {
            cpus: CPUS,
            all_s: 10.0 * CPUS,
            busy_s: beside.busy_s + own_s,
            ..beside
        });
    }

    #[test]
    fn what_else_used_the_machine_is_a_doubt() {
        let within = |limits, busy_s: f64, kernel_s, steal_s, unrelated_s| {
            judged_within(limits, "--model epoll", |e| {
                let beside = MachineTime {
                    busy_s,
                    kernel_s,
                    unrelated_s,
                    steal_s,
                    ..MachineTime::default()
                };
                ten_seconds(e, beside);
                let generator = &mut outcome(e).generator;
                (generator.cpu_user_s, generator.cpu_system_s) = (0.0, 0.0);
            })
        };
        let in_codes = |limits, busy_s, kernel_s, steal_s| {
            codes(&within(limits, busy_s, kernel_s, steal_s, None)).join(" ")
        };
        let of = |busy_s, kernel_s, steal_s| in_codes(Limits::default(), busy_s, kernel_s, steal_s);
        // A tenth of one CPU for ten seconds is one second.
        assert_eq!(of(0.9, 0.0, 0.0), "");
        assert_eq!(of(1.1, 0.0, 0.0), "W07");
        assert_eq!(of(1.1, 0.5, 0.0), "");
        let all_s = 10.0 * CPUS;
        assert_eq!(of(0.0, 0.0, 0.019 * all_s), "");
        assert_eq!(of(0.0, 0.0, 0.021 * all_s), "W07");
        let seen = |unrelated_s| within(Limits::default(), 2.0, 0.0, 0.0, Some(unrelated_s));
        assert_eq!(codes(&seen(0.9)).join(" "), "");
        assert_eq!(codes(&seen(1.1)).join(" "), "W07");
        let row = seen(5.0);
        let used_s = row.foreign_cpu_fraction.unwrap() * all_s;
        assert!((used_s - 2.0).abs() < 1e-9, "no more than the CPUs did");
        let unknown = judged("--model epoll", |e| {
            let window = e.window.as_mut().unwrap();
            window.processes = 0;
            window.machine = Some(MachineTime {
                all_s,
                busy_s: all_s,
                ..MachineTime::default()
            });
        });
        assert_eq!(unknown.foreign_cpu_fraction, None);
        assert!(!codes(&unknown).contains(&"W07"));
        // While it is being found out what is ordinary, everything is.
        assert_eq!(in_codes(Limits::NONE, 0.5 * all_s, 0.0, 0.5 * all_s), "");
    }

    #[test]
    fn load_hosts_are_neighbours_unless_they_are_on_the_servers_machine() {
        let with = |boot_id: &str| {
            judged("--model epoll", |e| {
                let beside = MachineTime {
                    busy_s: 3.0,
                    unrelated_s: Some(3.0),
                    ..MachineTime::default()
                };
                ten_seconds(e, beside);
                e.boot_ids.server = Some("server's".into());
                let host = HostFigures {
                    cpu_s: Some(3.0),
                    machine: Some(MachineFacts {
                        boot_id: Some(boot_id.into()),
                        ..MachineFacts::default()
                    }),
                    ..HostFigures::of(outcome(e))
                };
                outcome(e).hosts = vec![host];
            })
        };
        assert_eq!(with("server's").foreign_cpu_fraction, Some(0.0));
        let elsewhere = with("another");
        let share = elsewhere.foreign_cpu_fraction.unwrap();
        assert!((share - 3.0 / (10.0 * CPUS)).abs() < 1e-9, "{share}");
        assert!(codes(&elsewhere).contains(&"W07"));
    }

    #[test]
    fn connections_lost_to_a_full_queue_are_explained_by_it() {
        let row = judged("--model epoll", |e| {
            e.net.as_mut().unwrap().listen_overflows = 2;
            e.ledger.as_mut().unwrap().accepted = 101;
            outcome(e).connections.served = 99;
        });
        assert!(!codes(&row).contains(&"W09"), "{row:?}");
    }

    #[test]
    fn no_outcome_is_invalid_and_says_why() {
        let row = judged("--model epoll", |e| {
            e.outcome = None;
            e.generator_error = Some("exit code 1: a law is broken".into());
        });
        assert_eq!(row.verdict, Verdict::Invalid);
        assert!(row.reasons.0[0].text.contains("a law is broken"));
        assert_eq!(row.requests_completed, None);
    }

    #[test]
    fn a_lower_bound_is_not_given_for_a_figure() {
        let row = judged("--model epoll", |e| {
            let response = &mut outcome(e).latency_ns.response;
            response.p99 = Some(5_000_000_000);
            response.censored = 7_000;
            response.censored_from = Some(5_000_000_000);
        });
        assert_eq!(
            (row.response_p50_ns, row.response_p99_ns),
            (Some(900_000), None)
        );
    }

    #[test]
    fn the_generators_own_doubts_are_kept() {
        let row = judged("--model epoll", |e| {
            outcome(e).reasons = vec![Reason::new(Code::W06, "not steady")];
            e.net.as_mut().unwrap().listen_overflows = 5;
            outcome(e).connections.syn_retries = Some(1);
        });
        // Both sides saw the queue overflow; it is said once.
        assert_eq!(
            (codes(&row), row.verdict),
            (vec!["W06", "W08"], Verdict::Suspect)
        );
    }

    #[test]
    fn a_socket_of_somebody_else_leaves_no_figures_of_a_server() {
        let row = judged("--server {addr}", |e| {
            e.ledger = None;
            e.owner = Owner::Other(77, "epoll".into());
            e.left_behind = Some(Owner::Other(77, "epoll".into()));
        });
        assert_eq!((codes(&row), row.verdict), (vec!["W10"], Verdict::Suspect));
        let text = String::from(row.reasons.clone());
        assert!(
            text.contains("process 77 (epoll)") && text.contains("`kill 77`"),
            "{text}"
        );
        assert!(row.server_cpu_us_per_request.is_none() && row.server_memory_kib.is_none());
        assert!(row.server_processes.is_none() && row.bottleneck.is_none());
        assert!(row.requests_per_s.is_some(), "what the generator saw stays");
    }

    #[test]
    fn cpu_time_that_was_not_all_seen_is_no_figure_and_says_why() {
        let row = judged("--server {addr}", |e| {
            e.ledger = None;
            e.window.as_mut().unwrap().server_cpu = Err("forker ignores SIGCHLD".into());
        });
        assert_eq!(
            (row.server_cpu_us_per_request, row.server_user_s),
            (None, None)
        );
        assert_eq!(row.server_memory_kib, Some(100));
        assert!(row.reasons.0[0].text.contains("forker ignores SIGCHLD"));
    }

    #[test]
    fn what_the_harness_itself_used_is_a_doubt() {
        let used = |harness_s, printed_bytes| {
            judged("--model epoll", |e| {
                let window = e.window.as_mut().unwrap();
                (window.harness_s, window.printed_bytes) = (harness_s, printed_bytes);
            })
        };
        assert_eq!(codes(&used(0.1, 0)), [""; 0]);
        let text = String::from(used(0.6, 5_000_000).reasons);
        assert!(
            text.starts_with("W07 the harness itself used 30 % of a CPU, to read the 4.77 MiB"),
            "{text}"
        );
    }

    #[test]
    fn a_server_may_leave_unread_what_was_sent_again_and_not_more() {
        let with = |resent, closed_by_peer, unread| {
            let row = judged("--model epoll --payload 64", |e| {
                e.ledger.as_mut().unwrap().bytes_in -= unread;
                let outcome = outcome(e);
                outcome.whole_run.resent = resent;
                outcome.connections.closed_by_peer = closed_by_peer;
                outcome.connections.closed_by_us -= closed_by_peer;
            });
            codes(&row).contains(&"W09")
        };
        assert!(with(0, 2, 1), "nothing was sent again: every byte counts");
        assert!(!with(10, 2, 0) && !with(10, 2, 10 * 64 + 2 * 64));
        assert!(with(10, 2, 12 * 64 + 1));
    }

    #[test]
    fn a_quota_that_was_used_up_is_named() {
        let row = judged("--model epoll", |e| {
            e.window.as_mut().unwrap().throttled = Some(Throttled {
                what: "cpu.max of /jobs".into(),
                periods: 7,
                total_s: 1.2,
            });
        });
        let text = String::from(row.reasons.clone());
        assert!(
            text.contains(
                "W07 cpu.max of /jobs was used up in 7 of its periods and withheld 1.20 s"
            ),
            "{text}"
        );
        assert_eq!(
            (row.throttled_s, row.verdict),
            (Some(1.2), Verdict::Suspect)
        );
        assert_eq!(judged("--model epoll", |_| {}).throttled_s, Some(0.0));
    }

    #[test]
    fn memory_that_ran_short_is_the_cause() {
        let short = || {
            Some(OutOfMemory {
                killed: 3,
                limit: Some(Limit {
                    what: "memory.max of /jobs".into(),
                    most: 64 << 20,
                    used: 0,
                }),
            })
        };
        let row = judged("--model process", |e| {
            e.server_ended = Some("signal 9 (SIGKILL)".into());
            e.out_of_memory = short();
        });
        assert_eq!(row.status, Status::Crashed);
        assert!(
            row.reasons.0[0].text.contains(
                "the kernel ended the server because memory was short (memory.max of /jobs is 64.0 MiB)"
            ),
            "{:?}",
            row.reasons
        );
        let children = judged("--model process", |e| e.out_of_memory = short());
        assert_eq!(
            (children.status, children.server_oom_kills),
            (Status::Limited, Some(3))
        );
    }

    #[test]
    fn syns_that_were_never_answered_are_counted_by_the_kernel() {
        let of = |private_network| {
            judged("--model iterative", |e| {
                e.net.as_mut().unwrap().syn_retransmits = 38;
                e.launched.private_network = private_network;
            })
        };
        let text = String::from(of(true).reasons);
        assert!(text.contains("38 SYNs sent again"), "{text}");
        assert_eq!(
            codes(&of(false)),
            [""; 0],
            "the host's network is everybody's"
        );
    }
}
