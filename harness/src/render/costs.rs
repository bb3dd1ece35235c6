//! What a request costs, for a terminal: the system calls by name, and where the flame graphs are.

use super::chart::request_cost::by_name;
use super::flame::Flame;
use crate::analysis::request_cost::RequestCost;
use crate::base::text::{visible, wrapped};
use crate::base::unit::Unit;
use std::path::Path;

/// Columns of a terminal.
const WIDTH: usize = 80;

/// A paragraph per workload; nothing where no server was looked into.
pub fn for_people(costs: &[RequestCost], flames: &[Flame], run_dir: &Path) -> String {
    let mut text = String::new();
    let counted = costs.iter().any(|cost| cost.syscalls_per_request.is_some());
    if counted {
        text.push_str(
            "System calls per request, counted in one more trial each that is not ranked:\n",
        );
        for own in costs.chunk_by(|a, b| a.workload == b.workload) {
            text.push_str(&format!("{}\n", visible(&own[0].workload)));
            let widest = own
                .iter()
                .map(|cost| visible(&cost.arm).chars().count())
                .max();
            own.iter()
                .for_each(|cost| text.push_str(&line(cost, widest.unwrap_or(0))));
        }
    }
    let mut notes: Vec<&String> = costs.iter().flat_map(|cost| &cost.notes).collect();
    notes.sort();
    notes.dedup();
    for note in notes {
        text.push_str(&format!("note: {}\n", visible(note)));
    }
    if !flames.is_empty() {
        let charts = run_dir.join("charts");
        text.push_str(&format!(
            "Flame graphs, in {}:\n",
            visible(&charts.display().to_string())
        ));
        for flame in flames {
            text.push_str(&format!("  {}.svg  {}\n", flame.name, flame.title));
        }
    }
    text
}

/// `  epoll   2.5  recvfrom 1.00, sendto 1.00, epoll_wait 0.50`, in as many lines as it takes.
fn line(cost: &RequestCost, widest: usize) -> String {
    let total = cost
        .syscalls_per_request
        .map_or("n/a".into(), |n| Unit::Ratio.words(n));
    let head = format!("  {:<widest$}  {total:>5}  ", visible(&cost.arm));
    let indent = head.chars().count();
    let words = match cost.syscalls_per_request {
        Some(_) => by_name(cost),
        None => "not counted".into(),
    };
    let lines = wrapped(&words, WIDTH.saturating_sub(indent).max(24));
    let mut text = head;
    for (at, line) in lines.lines().enumerate() {
        if at > 0 {
            text.push_str(&" ".repeat(indent));
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::request_cost::Share;

    fn cost(arm: &str, names: &[&str]) -> RequestCost {
        let share = |name: &&str| Share {
            name: name.to_string(),
            per_request: 1.0,
        };
        RequestCost {
            arm: arm.into(),
            workload: "c50/echo64".into(),
            user_us_per_request: None,
            system_us_per_request: None,
            ctx_switches_per_request: None,
            wakeups_per_request: None,
            requests_per_wakeup: None,
            syscalls_per_request: (!names.is_empty()).then_some(names.len() as f64),
            syscalls: names.iter().map(share).collect(),
            instrumented_pace: None,
            notes: match names.is_empty() {
                true => vec!["system calls were not counted: run tenk as root".into()],
                false => Vec::new(),
            },
        }
    }

    #[test]
    fn lines_fit_a_terminal_and_say_what_is_missing() {
        let many = [
            "epoll_wait",
            "recvfrom",
            "sendto",
            "clock_nanosleep",
            "timerfd_settime",
            "futex",
        ];
        let text = for_people(
            &[cost("epoll", &many), cost("thread", &[])],
            &[],
            Path::new("r"),
        );
        assert!(
            text.lines().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
        assert!(
            text.contains("  epoll     6.0  epoll_wait 1.00, recvfrom 1.00"),
            "{text}"
        );
        assert!(
            text.contains("  thread    n/a  not counted") && text.contains("run tenk as root"),
            "{text}"
        );
        let none = for_people(&[cost("thread", &[])], &[], Path::new("r"));
        assert_eq!(
            none,
            "note: system calls were not counted: run tenk as root\n"
        );
    }
}
