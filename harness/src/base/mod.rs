//! What every other module may use and that knows nothing of servers: failures, the terminal, text, units, the machine.

pub mod child;
pub mod column_unit;
pub mod control_group;
pub mod error;
pub mod limits;
pub mod lock;
pub mod machine;
pub mod panic;
pub mod parallel;
pub mod progress;
pub mod runtime;
pub mod settings;
pub mod shell;
pub(crate) mod sys;
pub mod terminal;
pub mod text;
pub mod unit;
pub mod version;
