//! Where the lines of `--progress-json` go.

use std::path::PathBuf;
use std::str::FromStr;

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file, which is made or emptied.
    File(PathBuf),
    /// A descriptor that this program was started with.
    Descriptor(i32),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("fd:") {
            None => Ok(Self::File(text.into())),
            Some(number) => match number.parse() {
                Ok(number @ 1..) => Ok(Self::Descriptor(number)),
                _ => Err(format!("`{text}` is no descriptor, such as fd:1 or fd:3")),
            },
        }
    }
}
