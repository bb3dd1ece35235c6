//! The table of all figures, for Markdown and the page: one line per cell, the reasons below.

use super::varied::{self, Varied};
use crate::analysis::summary::{Cell, Figure, cells};
use crate::base::text::visible;
use crate::model::metrics::{
    CONNECTIONS, CPU_PER_REQUEST, MEMORY, RESPONSE_P50, RESPONSE_P99, THROUGHPUT,
};
use crate::model::row::{Row, Status, Verdict, in_words};
use crate::model::workload::Workload;
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table, TableStyle};
use loadgen::base::units::{format_bytes, format_count, format_ns};
use std::collections::BTreeMap;

/// A column of the table: its head, and a cell of it in words.
pub struct Column {
    /// Its head.
    pub name: &'static str,
    is_text: bool,
    words: fn(&Cell) -> String,
}

const fn text(name: &'static str, words: fn(&Cell) -> String) -> Column {
    Column {
        name,
        is_text: true,
        words,
    }
}

const fn figure(name: &'static str, words: fn(&Cell) -> String) -> Column {
    Column {
        name,
        is_text: false,
        words,
    }
}

/// The columns of the table.
pub const COLUMNS: [Column; 13] = [
    text("model", |cell| visible(cell.arm)),
    figure("conns", |cell| format_count(cell.workload.conns)),
    figure("served", |cell| whole(cell.count(|r| r.conns_served))),
    figure(THROUGHPUT.short, |cell| {
        match cell.workload.service.as_str() {
            "discard" => {
                let bytes_per_s = cell.figure(|r| r.bytes_per_s);
                shown(bytes_per_s, |v| format!("{}/s", format_bytes(v)))
            }
            _ => whole(cell.figure(THROUGHPUT.of)),
        }
    }),
    figure("±", |cell| {
        cell.figure(THROUGHPUT.of).map_or("n/a".into(), spread)
    }),
    figure(RESPONSE_P50.short, |cell| {
        time(cell.figure(RESPONSE_P50.of))
    }),
    figure(RESPONSE_P99.short, |cell| {
        time(cell.figure(RESPONSE_P99.of))
    }),
    figure(CONNECTIONS.short, |cell| whole(cell.figure(CONNECTIONS.of))),
    figure(CPU_PER_REQUEST.short, |cell| {
        time(cell.figure(|r| r.server_cpu_us_per_request.map(|us| us * 1e3)))
    }),
    figure(MEMORY.short, |cell| {
        let bytes = cell.figure(|r| r.server_memory_per_conn_bytes);
        shown(bytes, format_bytes)
    }),
    figure("errors", |cell| whole(cell.count(|r| r.errors))),
    text("status", |cell| match cell.status() {
        (status, true) => status.to_string(),
        (status, false) => format!("{status} (not always)"),
    }),
    text("verdict", |cell| cell.verdict().to_string()),
];

/// The table as Markdown, with its notes.
pub fn markdown(rows: &[Row]) -> String {
    let cells = cells(rows);
    let table = table(&cells, ASCII_MARKDOWN);
    let labels = rows.first().and_then(|row| row.labels.as_deref());
    let labels = labels.map_or_else(String::new, |labels| {
        format!("\nlabels: {}\n", visible(&labels.replace(';', ", ")))
    });
    format!("{table}\n{labels}{}{}", notes(&cells), caveats(rows))
}

fn table(cells: &[Cell], style: TableStyle) -> String {
    let mut table = Table::new();
    let told = told(cells);
    let names = told.iter().map(|column| varied::NAMES[*column]);
    let mut header = COLUMNS.map(|column| column.name).to_vec();
    header.splice(VARIED_AT..VARIED_AT, names);
    table.load_style(style).set_header(&header);
    for cell in cells {
        let varied = varied(&cell.workload);
        let more = told
            .iter()
            .map(|column| varied[*column].clone().unwrap_or_default());
        let mut words = line(cell);
        words.splice(VARIED_AT..VARIED_AT, more);
        table.add_row(words);
    }
    for (i, name) in header.iter().enumerate() {
        if let Some(column) = table.column_mut(i) {
            let is_text = COLUMNS.iter().any(|c| c.is_text && c.name == *name);
            column.set_cell_alignment(match is_text {
                true => CellAlignment::Left,
                false => CellAlignment::Right,
            });
        }
    }
    table.trim_fmt() + "\n"
}

/// The columns that are not always there stand behind the model and its connections.
const VARIED_AT: usize = 2;

fn varied(workload: &Workload) -> varied::Words {
    let bytes = workload.payload_bytes;
    let varied = Varied {
        idle: workload.idle,
        requests_per_conn: workload.requests_per_conn,
        payload_bytes: (bytes > 0).then(|| format_count(bytes)),
        rate_per_s: workload.requests_per_1000_s.map(|n| n as f64 / 1000.0),
        share: workload.capacity_permille.map(|n| n as f64 / 1000.0),
        work_ns: workload.work_ns,
        block_ns: workload.block_ns,
    };
    varied.words()
}

/// The columns that tell cells apart, or that all of them have; a payload is told only where there are several.
fn told(cells: &[Cell]) -> Vec<usize> {
    let words: Vec<varied::Words> = cells.iter().map(|cell| varied(&cell.workload)).collect();
    let is_told = |column: &usize| {
        let mut said = words.iter().map(|words| &words[*column]);
        let Some(first) = said.next() else {
            return false;
        };
        let differs = said.any(|other| other != first);
        differs || (first.is_some() && varied::NAMES[*column] != "payload")
    };
    (0..varied::NAMES.len()).filter(is_told).collect()
}

/// A cell in words, one per column.
pub fn line(cell: &Cell) -> Vec<String> {
    COLUMNS.map(|column| (column.words)(cell)).to_vec()
}

fn whole(figure: Option<Figure>) -> String {
    shown(figure, |v| format_count(v.round() as u64))
}

fn time(figure: Option<Figure>) -> String {
    shown(figure, |v| format_ns(v.round() as u64))
}

fn shown(figure: Option<Figure>, format: impl Fn(f64) -> String) -> String {
    figure.map_or("n/a".into(), |f| format(f.median))
}

/// Half the range of the trials as a share of their median.
fn spread(figure: Figure) -> String {
    if figure.trials < 2 || figure.median <= 0.0 {
        return "n/a".into();
    }
    let half = (figure.max - figure.min) / 2.0;
    format!("{:.1} %", half / figure.median * 100.0)
}

/// A reason that several trials share is said once, with their number.
pub fn notes(cells: &[Cell]) -> String {
    let mut text = String::new();
    let told = told(cells);
    for cell in cells {
        let varied = varied(&cell.workload);
        let mut seen: BTreeMap<&str, (u32, String)> = BTreeMap::new();
        for reason in cell.rows.iter().flat_map(|row| &row.reasons.0) {
            let key = match reason.code.as_str() {
                "" => &reason.text,
                code => code,
            };
            seen.entry(key).or_insert_with(|| (0, in_words(reason))).0 += 1;
        }
        for (times, words) in seen.values() {
            let trials = match cell.rows.len() {
                1 => String::new(),
                n => format!(" ({times} of {n} trials)"),
            };
            let mut at = format_count(cell.workload.conns);
            for &column in &told {
                let name = varied::NAMES[column];
                at.extend(
                    varied[column]
                        .iter()
                        .map(|value| format!(", {name} {value}")),
                );
            }
            let (arm, words) = (visible(cell.arm), visible(words.trim_end()));
            text.push_str(&format!("{arm} at {at}: {words}{trials}\n"));
        }
    }
    text
}

/// What must be known to read the figures rightly.
pub fn caveats(rows: &[Row]) -> String {
    let any = |test: &dyn Fn(&Row) -> bool| rows.iter().any(test);
    let mut text = String::new();
    if any(&|row| !row.workload().is_open_loop() && row.response_p50_ns.is_some()) {
        text.push_str(
            "p50 and p99 are a closed loop's: connections ÷ throughput, blind to stalls. \
             Compare models by requests/s and CPU/req.\n",
        );
    }
    if any(&|row| row.verdict != Verdict::Valid) {
        text.push_str("suspect: to be read with its reason in mind. invalid: not to be used.\n");
    }
    if any(&|row| row.status == Status::Starved) {
        text.push_str(
            "starved: some connections were never served, so the latency of the rest is not shown.\n",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::row::{Reason, Reasons};

    fn row(per_s: f64) -> Row {
        Row {
            arm: "epoll".into(),
            model: "epoll".into(),
            service: "echo".into(),
            conns: 10_000,
            conns_served: Some(10_000),
            requests_completed: Some(1),
            requests_per_s: Some(per_s),
            response_p50_ns: Some(70_000_000),
            errors: Some(0),
            ..Row::blank()
        }
    }

    #[test]
    fn reasons_are_counted_and_nothing_in_them_is_obeyed() {
        let mut limited = row(1.0);
        limited.conns_served = Some(1020);
        limited.status = Status::Limited;
        limited.reasons = Reasons(vec![Reason {
            code: String::new(),
            text: "FD_SETSIZE at 1020 of 10000\x1b[31m".into(),
        }]);
        let text = markdown(&[limited.clone(), limited]);
        assert!(
            text.contains(r"FD_SETSIZE at 1020 of 10000\u{1b}[31m (2 of 2 trials)"),
            "{text}"
        );
        assert!(text.contains("70.0 ms") && text.contains("n/a"), "{text}");
        assert!(text.contains("a closed loop's") && !text.contains('\x1b'));
    }

    #[test]
    fn what_tells_workloads_apart_is_told() {
        let rows = [0, 100].map(|idle| Row {
            idle,
            verdict: Verdict::Suspect,
            reasons: Reasons(vec![Reason {
                code: "W06".into(),
                text: "not steady".into(),
            }]),
            ..row(1.0)
        });
        let text = markdown(&rows);
        assert!(text.contains(" conns | idle | served "), "{text}");
        assert!(text.contains("epoll at 10 000, idle 100: W06"), "{text}");
        assert!(!text.contains("payload"), "{text}");
    }

    #[test]
    fn markdown_has_a_rule_under_its_header() {
        assert!(markdown(&[row(1.0)]).contains("|--"));
    }
}
