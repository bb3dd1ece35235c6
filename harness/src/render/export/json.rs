//! `--export json`: the run as `run.json` has it; its schema is `schemas/run.schema.json`.

use super::Source;

pub fn render(source: &Source) -> String {
    source.run_json.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::tests::RUN_JSON;
    use super::*;

    #[test]
    fn it_is_the_same_text() {
        let source = Source {
            rows: &[],
            run_json: RUN_JSON,
            answer: None,
            gate: None,
        };
        assert_eq!(render(&source), RUN_JSON);
    }
}
