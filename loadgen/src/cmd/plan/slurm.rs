//! A plan as a batch script for Slurm. One job step: its tasks start together, get the plan on stdin (srun(1) gives its
//! own to all of them), and end together; the tasks of a job array start whenever there is room for each.

use super::{Plan, SlurmFlags, longest_s};
use crate::load::Load;

/// The script.
pub(super) fn script(plan: &Plan, load: &Load, flags: &SlurmFlags) -> String {
    let segments = plan.segments;
    let start_s = flags.start_in.as_secs().max(1);
    let minutes = (longest_s(load) + start_s).div_ceil(60);
    let (start, start_at) = match plan.start_at {
        Some(_) => (String::new(), ""),
        None => (
            format!("start=$(date -u -d '+{start_s} seconds' +%Y-%m-%dT%H:%M:%SZ)\n"),
            " --start-at \"$start\"",
        ),
    };
    // Text of a plan has no line of its own that could end the document: JSON writes line feeds as \n.
    let document = serde_json::to_string(plan).unwrap_or_default();
    let program = quoted(&flags.program);
    format!(
        "#!/bin/bash
# Plan {digest}: a load divided among {segments} hosts, as one job step. Made by `tenk plan slurm`.
# sbatch it, then join what its log holds: tenk load merge tenk-load-JOBID.log
#SBATCH --job-name=tenk-load
#SBATCH --nodes={segments}
#SBATCH --ntasks={segments}
#SBATCH --ntasks-per-node=1
#SBATCH --time={minutes}
#SBATCH --output=tenk-load-%j.log
set -euo pipefail
{start}srun --nodes={segments} --ntasks={segments} --ntasks-per-node=1 --mpi=none --kill-on-bad-exit=1 \\
  {program} load --plan -{start_at} --outcome-lines --quiet <<'TENK_PLAN'
{document}
TENK_PLAN
",
        digest = plan.digest()
    )
}

/// A word of a shell's command line.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::plan;
    use super::*;

    #[test]
    fn the_script_is_one_step_and_carries_the_plan() {
        let plan = plan();
        let flags = SlurmFlags {
            plan: "-".into(),
            start_in: std::time::Duration::from_secs(20),
            program: "/opt/my tenk".into(),
        };
        let load = plan.load_of(plan.first()).expect("a load");
        let text = script(&plan, &load, &flags);
        assert!(
            text.starts_with("#!/bin/bash\n") && !text.contains("--array"),
            "{text}"
        );
        assert!(
            text.contains("#SBATCH --ntasks=4\n") && text.contains("'+20 seconds'"),
            "{text}"
        );
        assert!(
            text.contains("'/opt/my tenk' load --plan - --start-at \"$start\""),
            "{text}"
        );
        let document = text
            .lines()
            .find(|line| line.starts_with('{'))
            .expect("the plan");
        assert_eq!(Plan::parse(document.as_bytes()), Ok(plan));
        // What bash makes of it is a script without a syntax error.
        let checked = std::process::Command::new("bash")
            .args(["-n", "-c", &text])
            .output();
        if let Ok(output) = checked {
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        assert_eq!(quoted("a'b"), r"'a'\''b'");
    }
}
