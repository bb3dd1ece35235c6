//! Which segment this process is, by what its launcher says in the environment.

use crate::load::Segment;

/// The segment of a plan that this process is: as it was told, or as Slurm or Kubernetes say.
///
/// # Errors
/// A sentence where nobody says, or two say different things.
pub fn segment_here(
    told: Option<Segment>,
    segments: u32,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Segment, String> {
    if let Some(segment) = told {
        return Ok(segment);
    }
    let number = |name: &str| {
        let text = variable(name)?;
        Some(
            text.trim()
                .parse::<u32>()
                .map_err(|_| format!("{name} is {text:?}, no number")),
        )
    };
    let slurm = number("SLURM_PROCID")
        .transpose()?
        .zip(number("SLURM_NTASKS").transpose()?);
    let kubernetes = number("JOB_COMPLETION_INDEX").transpose()?;
    if variable("SLURM_ARRAY_TASK_ID").is_some() {
        return Err("this is a job array, whose tasks start whenever there is room: use one job step (tenk plan slurm)".into());
    }
    let (index, count) = match (slurm, kubernetes) {
        (Some(_), Some(_)) => {
            return Err(
                "both Slurm and Kubernetes say which segment this is: give --segment I/N".into(),
            );
        }
        (Some((index, count)), None) => (index, count),
        (None, Some(index)) => (index, segments),
        (None, None) => {
            return Err(
                "which segment of the plan is this? Give --segment I/N, or start it by srun or as an Indexed Job".into(),
            );
        }
    };
    match index < count {
        true => Ok(Segment { index, count }),
        false => Err(format!("segment {index} of {count}: they count from 0")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_launcher_says_which_segment_this_is() {
        let here = |told, pairs: &[(&str, &str)]| {
            let variable = |name: &str| {
                let pair = pairs.iter().find(|(known, _)| *known == name);
                pair.map(|(_, value)| (*value).to_owned())
            };
            segment_here(told, 4, variable)
        };
        let segment = |index, count| Ok(Segment { index, count });
        let slurm = [("SLURM_PROCID", "2"), ("SLURM_NTASKS", "3")];
        assert_eq!(here(None, &slurm), segment(2, 3));
        assert_eq!(
            here(Some(Segment { index: 1, count: 4 }), &slurm),
            segment(1, 4)
        );
        assert_eq!(here(None, &[("JOB_COMPLETION_INDEX", "3")]), segment(3, 4));
        assert!(here(None, &[]).is_err());
        assert!(here(None, &[("JOB_COMPLETION_INDEX", "4")]).is_err());
        assert!(here(None, &[("JOB_COMPLETION_INDEX", "x")]).is_err());
        assert!(here(None, &[slurm[0], slurm[1], ("JOB_COMPLETION_INDEX", "0")]).is_err());
        let array = here(None, &[slurm[0], slurm[1], ("SLURM_ARRAY_TASK_ID", "1")]);
        assert!(array.expect_err("refused").contains("job array"));
    }
}
