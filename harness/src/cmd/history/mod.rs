//! `tenk history`: figures by commit. What is kept are lines of a file, or of a branch of the user's own.

mod add;
mod bisection;
mod branch;
mod find;

use crate::base::error::{Exit, Failure, OrFail};
use crate::base::terminal::{eprintln, say};
use crate::cli::history::{HistoryCommand, HistoryFlags, PlaceOfHistory, PlotFlags};
use crate::render::history::Shown;
use crate::store::history::{History, contents, parse};
use branch::Branch;
use loadgen::base::file::write_atomically;

/// Does what was asked with a history.
pub async fn history(flags: &HistoryFlags) -> Result<Exit, Failure> {
    match &flags.what {
        HistoryCommand::Add(flags) => add::add(flags).await,
        HistoryCommand::Plot(flags) => plot(flags).await,
        HistoryCommand::Find(flags) => find::find(flags).await,
    }
}

/// Reads a history; what cannot be read of it is said.
async fn read(place: &PlaceOfHistory) -> Result<History, Failure> {
    let (bytes, of) = match &place.branch {
        Some(name) => {
            let branch = Branch::find(name).await?;
            (branch.contents().await?, name.clone())
        }
        None => {
            let file = place.file();
            let of = file.display().to_string();
            let bytes = contents(&file).or_failed(format_args!("cannot read {of}"))?;
            (bytes, of)
        }
    };
    let bytes = bytes.ok_or_else(|| {
        Failure::failed(format!(
            "there is no history in {of} yet: `tenk history add DIR` begins one"
        ))
    })?;
    Ok(parse(&bytes, &of))
}

async fn plot(flags: &PlotFlags) -> Result<Exit, Failure> {
    let history = read(&flags.place).await?;
    history
        .notes
        .iter()
        .for_each(|note| eprintln(&format!("note: {note}")));
    let columns: Vec<&str> = flags
        .metric
        .iter()
        .map(|gated| gated.metric.column)
        .collect();
    let shown = Shown::of(&history, &columns);
    let page = shown.page().map_err(Failure::failed)?;
    let what = flags.page.display();
    write_atomically(&flags.page, page.as_bytes()).or_failed("cannot write the page")?;
    say(&format!("{}\nPage: {what}\n", shown.sentences.join("\n"))).map(|()| Exit::Done)
}
