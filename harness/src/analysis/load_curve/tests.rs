use super::*;
use crate::analysis::answer::Answer;

/// Three trials of an arm at a share of 100 000 requests a second.
fn level_rows(arm: &str, share: f64, p99_ns: Option<u64>, answered: f64) -> Vec<Row> {
    let row = |block: u32| {
        let rate = share * 100_000.0;
        let offered = (rate * 3.0) as u64;
        Row {
            arm: arm.into(),
            model: arm.into(),
            service: "echo".into(),
            conns: 50,
            payload_bytes: 64,
            block: block + (share * 100.0) as u32 * 10,
            trial: block,
            duration_s: 3.0,
            rate_per_s: Some(rate),
            capacity_fraction: Some(share),
            arrival: "fixed".into(),
            requests_offered: Some(offered),
            requests_completed: Some((offered as f64 * answered) as u64),
            requests_per_s: Some(rate * answered),
            response_p50_ns: p99_ns.map(|ns| ns / 4),
            response_p99_ns: p99_ns.map(|ns| ns + u64::from(block)),
            ..Row::blank()
        }
    };
    (1..=3).map(row).collect()
}

/// A queue whose times grow as 1 ÷ (1 − load), up to the level that is not held.
fn rows(arm: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for share in [0.1, 0.3, 0.5, 0.7, 0.9] {
        let p99_ns = 100_000.0 * (1.0 + share / (1.0 - share));
        rows.extend(level_rows(arm, share, Some(p99_ns as u64), 1.0));
    }
    rows.extend(level_rows(arm, 1.0, Some(500_000_000), 0.9));
    rows
}

fn slo(text: &str) -> Vec<Slo> {
    vec![text.parse().unwrap()]
}

#[test]
fn the_knee_is_a_level_and_levels_beyond_it_do_not_move_it() {
    let all = rows("epoll");
    let knee = |rows: &[Row]| curves(rows, &[])[0].arms[0].knee.unwrap();
    assert_eq!(knee(&all).rate_per_s, 50_000.0);
    assert!(!knee(&all).is_last && knee(&all).column == "response_p99_ns");
    let few: Vec<Row> = all[..12].to_vec();
    assert_eq!(knee(&few).rate_per_s, 50_000.0);
    let rising = knee(&all[..9]);
    assert!(rising.is_last && rising.rate_per_s == 50_000.0);
    assert_eq!(curves(&all[..6], &[])[0].arms[0].knee, None, "two levels");
}

#[test]
fn the_rate_held_under_a_promise_is_the_highest_level_that_kept_it_and_none_in_between() {
    let all = rows("epoll");
    let held = |slo_text: &str| curves(&all, &slo(slo_text))[0].arms[0].slo_held_per_s;
    // 1 ms is reached between the levels of 70 % (333 µs) and 90 % (1 ms and some ns).
    assert_eq!(held("response_p99_ns<1ms"), Some(70_000.0));
    // The level that was not held is none, however patient the promise.
    assert_eq!(held("response_p99_ns<60s"), Some(90_000.0));
    assert_eq!(held("response_p99_ns<1us"), None);
    assert_eq!(
        held("errors<1"),
        None,
        "no count of errors is no proof of none"
    );
}

#[test]
fn the_median_trial_decides() {
    let mut all = rows("epoll");
    let at_30 = all.iter_mut().filter(|r| r.capacity_fraction == Some(0.3));
    for (i, row) in at_30.enumerate() {
        if i == 0 {
            row.response_p99_ns = Some(1_000_000_000);
        }
    }
    let curve = &curves(&all[..6], &slo("response_p99_ns<1ms"))[0];
    assert_eq!(curve.arms[0].slo_held_per_s, Some(30_000.0));
}

#[test]
fn too_few_requests_are_told_from_requests_that_were_never_answered() {
    let few = level_rows("epoll", 0.01, None, 1.0);
    let never = level_rows("epoll", 0.8, None, 0.98);
    let rows: Vec<Row> = few.into_iter().chain(never).collect();
    let curve = &curves(&rows, &slo("response_p99_ns<5ms"))[0];
    let [few, never] = &curve.arms[0].levels[..] else {
        panic!("two levels")
    };
    // 1 000/s need 10 s and a little for the hundred beyond.
    assert_eq!(few.response_p99_ns, Percentile::TooFew { duration_s: 11.0 });
    assert_eq!(never.response_p99_ns, Percentile::Censored);
    assert_eq!((few.slo_kept, never.slo_kept), (None, Some(false)));
    let text = Answer::under(&rows, true, &slo("response_p99_ns<5ms")).text();
    assert!(
        text.contains("No p99 at 1 of 2 levels (up to 1 000/s)") && text.contains("--duration 11s"),
        "{text}"
    );
}

#[test]
fn the_answer_begins_with_what_is_held_under_the_promise() {
    let mut all = rows("epoll");
    all.extend(rows("thread").into_iter().map(|mut row| {
        row.response_p99_ns = row.response_p99_ns.map(|ns| ns * 20);
        row
    }));
    let answer = Answer::under(&all, true, &slo("response_p99_ns<1ms"));
    assert_eq!(
        answer.sentences[0],
        "Under response_p99_ns<1ms, the highest rate held: `epoll` 70 000/s; no rate of those offered: `thread`."
    );
    let text = answer.text();
    let told = "50 connections, open loop, echo 64 B\nThe knee, the level with the most requests/s for its p99: `";
    assert!(
        text.contains(told) && text.contains("`epoll` 50 000/s (50 %)"),
        "{text}"
    );
    let without = Answer::of(&all, true).text();
    assert!(
        without.contains("The highest rate held (99 % of what was due, answered): `")
            && without.contains("`epoll` 90 000/s"),
        "{without}"
    );
    assert!(
        !without.contains("each arm's capacity"),
        "levels are told once: {without}"
    );
}

#[test]
fn what_held_by_luck_is_said_to_have_been_broken_below() {
    let mut all = rows("epoll");
    let at_30 = all.iter_mut().filter(|r| r.capacity_fraction == Some(0.3));
    at_30.for_each(|row| row.response_p99_ns = Some(9_000_000));
    let text = Answer::under(&all, true, &slo("response_p99_ns<1ms")).text();
    assert!(
        text.contains("held: `epoll` 70 000/s")
            && text.contains("Broken at lower rates than the one held: `epoll` at 30 000/s"),
        "{text}"
    );
}

#[test]
fn a_closed_loop_and_a_single_rate_have_no_curve() {
    let mut single = level_rows("epoll", 0.5, Some(1000), 1.0);
    assert!(curves(&single, &[]).is_empty());
    let one = curves(&single, &slo("response_p99_ns<1ms"));
    assert!(!one[0].has_levels() && one[0].arms[0].slo_held_per_s == Some(50_000.0));
    for row in &mut single {
        (row.rate_per_s, row.capacity_fraction) = (None, None);
    }
    assert!(curves(&single, &slo("response_p99_ns<1ms")).is_empty());
}

#[test]
fn a_queue_that_is_worked_off_after_the_window_is_no_rate_held() {
    let levels = |answered_in_window: f64| {
        let mut rows = rows("epoll");
        rows.extend(level_rows("epoll", 1.2, Some(900_000_000), 1.0));
        for row in rows
            .iter_mut()
            .filter(|row| row.capacity_fraction == Some(1.2))
        {
            row.requests_per_s = row.rate_per_s.map(|rate| rate * answered_in_window);
        }
        curves(&rows, &[])[0].arms[0].held_per_s
    };
    assert_eq!(levels(0.8), Some(90_000.0), "answered in the end");
    assert_eq!(levels(1.0), Some(120_000.0));
}
