//! `--export bmf`: Bencher Metric Format (<https://bencher.dev/docs/reference/bencher-metric-format/>): per cell the
//! measures with their median and, from six trials up, its interval; and the rates held under a promise.

use super::{EXPORTED, Source, cell_name, measured, rates_held};
use crate::analysis::summary::{Cell, cells};
use crate::base::error::{Failure, OrFail};
use serde_json::{Map, Value, json};

pub fn render(source: &Source) -> Result<String, Failure> {
    let mut benchmarks = Map::new();
    for cell in cells(source.rows) {
        let measures = measures(&cell);
        if !measures.is_empty() {
            benchmarks.insert(cell_name(&cell), measures.into());
        }
    }
    for (name, per_s) in rates_held(source) {
        benchmarks.insert(name, json!({ "rate-held-under-slo": { "value": per_s } }));
    }
    let text = serde_json::to_string_pretty(&benchmarks);
    text.map(|text| text + "\n").or_failed("--export bmf")
}

fn measures(cell: &Cell) -> Map<String, Value> {
    let measure = |exported: &super::Exported| {
        let (figure, interval) = measured(cell, exported)?;
        let value = match interval {
            Some(i) => {
                json!({ "value": figure.median, "lower_value": i.low, "upper_value": i.high })
            }
            None => json!({ "value": figure.median }),
        };
        Some((exported.bmf.to_string(), value))
    };
    EXPORTED.iter().filter_map(measure).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::rows;
    use super::*;
    use crate::analysis::answer::Answer;
    use crate::model::row::Row;

    fn rendered(rows: &[Row], answer: Option<&Answer>) -> String {
        let source = Source {
            rows,
            run_json: "",
            answer,
            gate: None,
        };
        render(&source).unwrap()
    }

    #[test]
    fn the_rate_held_under_a_promise_is_a_measure() {
        let row = Row {
            rate_per_s: Some(5000.0),
            arrival: "fixed".into(),
            requests_offered: Some(10),
            requests_completed: Some(10),
            ..rows()[0].clone()
        };
        let rows = [row];
        let slo = ["response_p99_ns<5ms".parse().unwrap()];
        let answer = Answer::under(&rows, true, &slo);
        let text: Value = serde_json::from_str(&rendered(&rows, Some(&answer))).unwrap();
        let held = &text["epoll-et/c10000/echo64"]["rate-held-under-slo"]["value"];
        assert_eq!(held, 5000.0);
    }

    #[test]
    fn it_is_the_documented_shape() {
        let expected = r#"{
  "=cmd|a b\\u{1b}[1m\",\\u{a}<b>/c10000/echo64": {
    "latency": {
      "value": 901000.0
    },
    "server-cpu-us-per-request": {
      "value": 11.5
    },
    "throughput": {
      "value": 81001.0
    }
  },
  "epoll-et/c10000/echo64": {
    "latency": {
      "lower_value": 901000.0,
      "upper_value": 906000.0,
      "value": 903500.0
    },
    "server-cpu-us-per-request": {
      "lower_value": 11.5,
      "upper_value": 11.5,
      "value": 11.5
    },
    "throughput": {
      "lower_value": 81001.0,
      "upper_value": 81006.0,
      "value": 81003.5
    }
  }
}
"#;
        assert_eq!(rendered(&rows(), None), expected);
    }

    #[test]
    fn nothing_measured_is_an_empty_object() {
        assert_eq!(rendered(&[], None), "{}\n");
    }
}
