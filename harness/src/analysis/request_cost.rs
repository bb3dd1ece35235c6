//! What a request costs a server: its CPU time in user and system mode, context switches, wake-ups, and the system
//! calls that it makes, by name. Medians over the trials that may be believed; system calls are those of the arm's
//! instrumented trial, which has no other part in it.

use super::summary::{Cell, Figure, cells};
use crate::model::instrumented::{Instrumented, Syscalls};
use crate::model::row::Row;
use crate::model::workload::workload_name;
use schemars::JsonSchema;
use serde::Serialize;

/// What is counted, and not by name.
pub const OTHER: &str = "other";

/// What a request costs one arm under one workload.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RequestCost {
    /// Label of the arm.
    pub arm: String,
    /// The workload in one word, as in reports.
    pub workload: String,
    /// CPU time in user mode per request, µs (the division is sampled at ticks).
    pub user_us_per_request: Option<f64>,
    /// CPU time in system mode per request, µs.
    pub system_us_per_request: Option<f64>,
    /// Context switches per request.
    pub ctx_switches_per_request: Option<f64>,
    /// Times the server's loop woke up per request.
    pub wakeups_per_request: Option<f64>,
    /// Requests that a wake-up served.
    pub requests_per_wakeup: Option<f64>,
    /// System calls per request; none where they were not counted.
    pub syscalls_per_request: Option<f64>,
    /// The same by name, the most frequent first, and what is left of the whole as `other`.
    pub syscalls: Vec<Share>,
    /// Requests per second of the instrumented trial ÷ those of the others: what looking cost.
    pub instrumented_pace: Option<f64>,
    /// Why something that was asked for is missing, and what mends it.
    pub notes: Vec<String>,
}

/// A system call and how often it is made for a request.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Share {
    /// Its name.
    pub name: String,
    /// How often.
    pub per_request: f64,
}

/// What a request costs every arm under every workload that an instrumented trial was made of.
pub fn of_instrumented(rows: &[Row], instrumented: &[Instrumented]) -> Vec<RequestCost> {
    let all = cells(rows);
    let asked = all
        .iter()
        .filter(|cell| of_cell(cell, instrumented).is_some());
    asked
        .map(|cell| RequestCost::of(cell, instrumented))
        .collect()
}

/// The instrumented trial of a cell.
fn of_cell<'a>(cell: &Cell, instrumented: &'a [Instrumented]) -> Option<&'a Instrumented> {
    let is_of =
        |one: &&Instrumented| one.row.arm == cell.arm && one.row.workload() == cell.workload;
    instrumented.iter().find(is_of)
}

impl RequestCost {
    /// What a request costs one arm under one workload.
    pub fn of(cell: &Cell, instrumented: &[Instrumented]) -> RequestCost {
        let median = |column: &dyn Fn(&Row) -> Option<f64>| cell.figure(column).map(|f| f.median);
        let part = |of_row: &dyn Fn(&Row) -> Option<f64>| {
            median(&|row| {
                let (user, system) = (row.server_user_s?, row.server_system_s?);
                let share = of_row(row)? / (user + system);
                Some(row.server_cpu_us_per_request? * share).filter(|us| us.is_finite())
            })
        };
        let looked = of_cell(cell, instrumented);
        let wakeups = median(&|row| row.wakeups_per_request);
        let mut cost = RequestCost {
            arm: cell.arm.into(),
            workload: workload_name(cell.rows[0]),
            user_us_per_request: part(&|row| row.server_user_s),
            system_us_per_request: part(&|row| row.server_system_s),
            ctx_switches_per_request: median(&|row| row.ctx_switches_per_request),
            wakeups_per_request: wakeups,
            requests_per_wakeup: wakeups.filter(|n| *n > 0.0).map(|n| 1.0 / n),
            syscalls_per_request: None,
            syscalls: Vec::new(),
            instrumented_pace: looked.and_then(|looked| pace(cell, &looked.row)),
            notes: looked
                .map(|looked| looked.notes.clone())
                .unwrap_or_default(),
        };
        if let Some(looked) = looked
            && let Some(made) = &looked.syscalls
            && let Some((total, by_name)) = per_request(made, &looked.row)
        {
            cost.syscalls_per_request = Some(total);
            cost.syscalls = by_name;
        }
        cost
    }
}

/// How fast the instrumented trial was, beside the others.
fn pace(cell: &Cell, looked: &Row) -> Option<f64> {
    let others = Figure::of(cell.rows.iter().filter_map(|row| row.requests_per_s))?;
    looked
        .requests_per_s
        .map(|own| own / others.median)
        .filter(|pace| pace.is_finite())
}

/// All calls per request, and those by name with the rest; none where no request was completed.
fn per_request(made: &Syscalls, row: &Row) -> Option<(f64, Vec<Share>)> {
    let completed = row.requests_completed.filter(|n| *n > 0)? as f64;
    // The readings lie a handshake further apart than the window's ends. Where the server does not say how much it
    // received between them, its pace is taken for the same.
    let longer = (made.between_s / row.duration_s).max(1.0);
    let requests = made.requests.unwrap_or(completed * longer);
    let each = |count: u64| count as f64 / requests;
    let named: u64 = made.by_name.values().sum();
    let mut shares: Vec<Share> = made
        .by_name
        .iter()
        .map(|(name, count)| Share {
            name: name.clone(),
            per_request: each(*count),
        })
        .collect();
    shares.sort_by(|a, b| b.per_request.total_cmp(&a.per_request));
    // Counters are read one after the other: the last may be a few calls behind.
    if let Some(rest) = made.total.checked_sub(named).filter(|rest| *rest > 0) {
        shares.push(Share {
            name: OTHER.into(),
            per_request: each(rest),
        });
    }
    Some((each(made.total.max(named)), shares))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(block: u32) -> Row {
        Row {
            arm: "epoll".into(),
            block,
            conns: 50,
            service: "echo".into(),
            payload_bytes: 64,
            duration_s: 2.0,
            requests_completed: Some(1000),
            requests_per_s: Some(500.0),
            server_cpu_us_per_request: Some(8.0),
            server_user_s: Some(1.0),
            server_system_s: Some(3.0),
            wakeups_per_request: Some(0.25),
            ctx_switches_per_request: Some(0.5),
            ..Row::blank()
        }
    }

    fn looked() -> Instrumented {
        Instrumented {
            row: Row {
                requests_per_s: Some(450.0),
                duration_s: 1.0,
                requests_completed: Some(450),
                ..row(0)
            },
            syscalls: Some(Syscalls {
                total: 1000,
                by_name: [("recvfrom".into(), 450), ("epoll_wait".into(), 540)].into(),
                between_s: 1.25,
                requests: None,
            }),
            profile: None,
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_request_costs_what_its_trials_and_its_instrumented_trial_say() {
        let rows = [row(1), row(2), row(3)];
        let costs = of_instrumented(&rows, &[looked()]);
        let cost = &costs[0];
        assert_eq!((costs.len(), cost.workload.as_str()), (1, "c50/echo64"));
        assert_eq!(
            (cost.user_us_per_request, cost.system_us_per_request),
            (Some(2.0), Some(6.0))
        );
        assert_eq!(cost.requests_per_wakeup, Some(4.0));
        assert_eq!(cost.instrumented_pace, Some(0.9));
        // 1 000 calls in 1.25 s are 800 in the window's second, over 450 requests.
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(cost.syscalls_per_request.unwrap(), 800.0 / 450.0));
        let names: Vec<&str> = cost.syscalls.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["epoll_wait", "recvfrom", OTHER]);
        let sum: f64 = cost.syscalls.iter().map(|s| s.per_request).sum();
        assert!(near(sum, 800.0 / 450.0), "{cost:?}");
    }

    #[test]
    fn what_the_server_received_between_the_readings_is_what_its_calls_are_for() {
        let mut one = looked();
        one.syscalls.as_mut().unwrap().requests = Some(500.0);
        let cost = &of_instrumented(&[row(1)], &[one])[0];
        assert_eq!(cost.syscalls_per_request, Some(2.0));
    }

    #[test]
    fn what_was_not_counted_is_missing_and_never_zero() {
        let rows = [row(1)];
        let none = Instrumented {
            syscalls: None,
            notes: vec!["system calls were not counted: no tracefs".into()],
            ..looked()
        };
        let cost = &of_instrumented(&rows, &[none])[0];
        assert_eq!((cost.syscalls_per_request, cost.syscalls.len()), (None, 0));
        assert_eq!(cost.notes.len(), 1);
        let unanswered = Instrumented {
            row: Row {
                requests_completed: Some(0),
                ..looked().row
            },
            ..looked()
        };
        let cost = &of_instrumented(&rows, &[unanswered])[0];
        assert_eq!(cost.syscalls_per_request, None);
        assert!(of_instrumented(&rows, &[]).is_empty());
    }
}
