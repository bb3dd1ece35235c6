use super::*;
use crate::model::row::{Reason, Reasons, Status, Verdict};

fn rows(blocks: u32, arms: &[(&str, f64)]) -> Vec<Row> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut row = |arm: &str, block: u32, per_s: f64| Row {
        arm: arm.into(),
        model: arm.into(),
        service: "echo".into(),
        conns: 50,
        payload_bytes: 64,
        block,
        conns_served: Some(50),
        requests_offered: Some(1000),
        requests_completed: Some(1000),
        requests_per_s: Some(per_s * (1.0 + 0.01 * random.f64())),
        ..Row::blank()
    };
    let mut rows = Vec::new();
    for block in 1..=blocks {
        rows.extend(arms.iter().map(|(arm, per_s)| row(arm, block, *per_s)));
    }
    rows
}

fn told(rows: &[Row]) -> String {
    Answer::of(rows, true).text()
}

#[test]
fn a_clear_run_names_the_best_the_last_and_how_sure_it_is() {
    let text = told(&rows(
        3,
        &[("epoll", 1000.0), ("poll", 900.0), ("thread", 300.0)],
    ));
    assert!(
        text.starts_with("Take `epoll`: none was shown to be better, by requests/s.\n"),
        "{text}"
    );
    assert!(text.contains("By requests/s, `epoll` leads (1 0"), "{text}");
    assert!(
        text.contains(
            "; of 2 that are worse, `thread` is last: it does 3.3 times fewer requests/s (3."
        ),
        "{text}"
    );
    assert!(
        text.contains("How sure: 3 blocks of 3 arms tell differences in requests/s from "),
        "{text}"
    );
    assert!(
        text.contains("\nIts figures at 50 connections, closed loop, echo 64 B: 1 0"),
        "{text}"
    );
    assert!(!text.contains("What could change this"), "{text}");
}

#[test]
fn arms_that_are_not_told_apart_lead_together() {
    let arms = [
        ("epoll", 1000.0),
        ("poll", 1001.0),
        ("io-uring", 1002.0),
        ("thread", 500.0),
    ];
    let text = told(&rows(3, &arms));
    assert!(
        text.contains(" lead, equal within 5 % (best: 1 0"),
        "{text}"
    );
    assert!(
        text.contains("\nNot told apart from it in anything: `"),
        "{text}"
    );
    assert!(
        text.contains("\nWhat could change this: differences in requests/s below "),
        "{text}"
    );
    assert!(
        text.contains(" are not seen in 3 blocks; --repeat 12 would see them from about "),
        "{text}"
    );
    let mut noisy = rows(3, &arms);
    let mut random = fastrand::Rng::with_seed(9);
    for row in &mut noisy {
        row.requests_per_s = row.requests_per_s.map(|v| v * (0.9 + 0.2 * random.f64()));
    }
    let text = told(&noisy);
    assert!(text.contains(" lead, not told apart (best: "), "{text}");
}

#[test]
fn one_block_is_provisional() {
    let text = told(&rows(1, &[("epoll", 1000.0), ("poll", 500.0)]));
    assert!(text.starts_with("Provisionally `epoll`"), "{text}");
    assert!(
        text.contains("By requests/s, in the order of a single block: `epoll` 1 0"),
        "{text}"
    );
    assert!(!text.contains("How sure"), "{text}");
}

#[test]
fn one_arm_is_not_called_the_best() {
    let text = told(&rows(3, &[("epoll", 1000.0)]));
    assert!(
        text.starts_with("Only `epoll` was run, so nothing is compared"),
        "{text}"
    );
    assert!(!text.contains("Take"), "{text}");
}

#[test]
fn what_failed_is_told_with_its_place() {
    let mut rows = rows(
        3,
        &[
            ("epoll", 1000.0),
            ("poll", 500.0),
            ("select", 500.0),
            ("iterative", 9.0),
        ],
    );
    for row in &mut rows {
        let (status, why) = match row.arm.as_str() {
            "select" => (Status::Limited, "FD_SETSIZE at 20 of 50"),
            "iterative" => (Status::Starved, "served 1 of 50 connections in time"),
            _ => continue,
        };
        row.status = status;
        row.reasons = Reasons(vec![Reason {
            code: String::new(),
            text: why.into(),
        }]);
    }
    let text = told(&rows);
    assert!(
        text.contains("`select` was limited (FD_SETSIZE at 20 of 50)")
            && text
                .contains("`iterative` starved connections (served 1 of 50 connections in time)"),
        "{text}"
    );
    assert!(text.starts_with("Take `epoll`"), "{text}");
}

#[test]
fn a_fixed_rate_is_answered_by_what_it_costs() {
    let mut rows = rows(3, &[("epoll", 200.0), ("poll", 201.0), ("thread", 200.0)]);
    for row in &mut rows {
        row.rate_per_s = Some(200.0);
        row.arrival = "fixed".into();
        let (us, ns) = match row.arm.as_str() {
            "poll" => (220.0, 54.0),
            _ => (10.0, 1.0),
        };
        let noise = row.requests_per_s.unwrap() / 200.0;
        row.server_cpu_us_per_request = Some(us * noise);
        row.response_p50_ns = Some((ns * noise * 1e6) as u64);
        if row.arm == "thread" {
            row.requests_completed = Some(700);
        }
    }
    let text = told(&rows);
    assert!(
        text.contains("The rate of 200/s was held by 2 of 3; not by `thread` (20"),
        "{text}"
    );
    assert!(
        text.contains("By CPU per request, `epoll` leads (10."),
        "{text}"
    );
    assert!(text.contains("`poll` has 54 times the p50 (5"), "{text}");
    assert!(
        !text.contains("requests/s,"),
        "throughput is not ranked: {text}"
    );
    assert!(
        text.contains(
            "No p99: it takes 10 000 requests in the window, a hundred beyond it; --duration 51s"
        ),
        "{text}"
    );
}

#[test]
fn nothing_at_all_is_said_so() {
    assert_eq!(told(&[]), "No trial has figures that may be believed.\n");
    let mut rows = rows(3, &[("epoll", 1000.0), ("poll", 500.0)]);
    for row in &mut rows {
        row.verdict = Verdict::Invalid;
    }
    assert!(
        told(&rows).starts_with("No trial has figures that may be believed."),
        "{}",
        told(&rows)
    );
}

#[test]
fn an_interrupted_run_says_so_first() {
    let text = Answer::of(&rows(2, &[("epoll", 1000.0), ("poll", 500.0)]), false).text();
    assert!(
        text.starts_with("Interrupted after 4 trials: this is what they say.\nTake `epoll`"),
        "{text}"
    );
}

#[test]
fn over_several_workloads_the_worst_of_the_best_is_told() {
    let mut rows = rows(3, &[("epoll", 1000.0), ("poll", 500.0)]);
    let mut more = rows.clone();
    for row in &mut more {
        row.conns = 1000;
        row.requests_per_s = Some(2e6 / row.requests_per_s.unwrap());
    }
    rows.extend(more);
    let answer = Answer::of(&rows, true);
    let first = &answer.sentences[0];
    assert!(first.starts_with("Take `"), "{first}");
    assert!(
        first.contains(
            "none was shown to be better in 1 of 2 rankings; at its worst it does 2.0 times fewer"
        ),
        "{first}"
    );
    assert!(
        first.ends_with(" at c1000/echo64.") || first.ends_with(" at c50/echo64."),
        "{first}"
    );
    assert_eq!(
        answer.workloads[1].title,
        "1 000 connections, closed loop, echo 64 B"
    );
}

#[test]
fn an_arm_whose_memory_is_too_small_to_read_is_not_passed_over_for_that() {
    let arms = [("epoll", 1000.0), ("thread", 500.0), ("process", 300.0)];
    let mut rows = rows(3, &arms);
    for row in rows.iter_mut().filter(|row| row.arm != "epoll") {
        let kib = if row.arm == "thread" { 4096 } else { 40_960 };
        row.server_memory_kib = Some(kib);
        row.server_memory_per_conn_bytes = Some(kib as f64 * 1024.0 / 50.0);
    }
    let text = told(&rows);
    assert!(
        text.starts_with("Take `epoll`: none was shown to be better, by requests/s.\n"),
        "{text}"
    );
    assert!(
        text.contains("By memory per connection, `thread` leads"),
        "{text}"
    );
}
